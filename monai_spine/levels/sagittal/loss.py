"""The loss of the level network: a focal loss of the landmark maps, and cross-entropy of the regions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from monai_spine.levels.sagittal.landmark_maps import LANDMARKS

_FOCAL_EXPONENT = 2.0
_ALL_BUT_TYPE = (0, 2, 3, 4)
_LEAST_SUM = 25.0
"""Least sum of targets to divide by, that of about one landmark: a batch may show no landmark of a type."""


class LandmarkLoss(nn.Module):
    """Quality focal loss of the maps plus cross-entropy of the regions.

    The first term is that of Li et al. 2020 (arXiv:2006.04388, equation 4): the factor ``|t - p| ** 2`` times the
    binary cross-entropy of probability ``p`` and target ``t`` in [0, 1]. It is summed over all voxels of a type of
    landmark and divided by the sum of the targets of that type in the batch. The mean over the types is taken.

    Parameters
    ----------
    region_weight
        Weight of the regions' term; the maps' term has weight 1.
    """

    def __init__(self, *, region_weight: float = 1.0) -> None:
        super().__init__()
        self.region_weight = region_weight

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A scalar.

        Parameters
        ----------
        logits
            ``(batch, len(LANDMARKS) + len(REGIONS), x, y, z)``.
        target
            ``(batch, len(LANDMARKS) + 1, x, y, z)`` as `LandmarkMapsd` makes it. Voxels that are `UNKNOWN` in the maps,
            and regions of -1, do not count.
        """
        logits = logits.float()
        maps, heights = logits[:, : len(LANDMARKS)], target[:, : len(LANDMARKS)]
        known, heights = heights >= 0, heights.clamp(min=0)
        # Few voxels are near a landmark. The factor keeps the many easy ones from outweighing them; a weight on
        # positive voxels would do so too, but raise false peaks.
        factor = known * (torch.sigmoid(maps).detach() - heights).abs() ** _FOCAL_EXPONENT
        focal = factor * binary_cross_entropy_with_logits(maps, heights, reduction="none")
        # Each type has its own normaliser, since there is one lumbosacral disc to fourteen foramina. With a common one
        # 27 of 40 phantom volumes had uncertain or wrong levels; with this, and more usual patients in training, none.
        loss = (focal.sum(dim=_ALL_BUT_TYPE) / heights.sum(dim=_ALL_BUT_TYPE).clamp(min=_LEAST_SUM)).mean()
        regions = target[:, -1].long()
        if self.region_weight > 0 and (regions >= 0).any():
            loss = loss + self.region_weight * cross_entropy(logits[:, len(LANDMARKS) :], regions, ignore_index=-1)
        return loss
