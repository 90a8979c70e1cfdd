"""The loss of a network that draws maps of landmarks and regions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from monai_spine.levels.sagittal.landmark_maps import LANDMARKS


class LandmarkLoss(nn.Module):
    """Cross-entropy of maps, weighed by how wrong they are, plus cross-entropy of regions.

    The maps' term is the quality focal loss of Li et al. 2020 (arXiv:2006.04388, equation 4): ``|t - p| ** sharpness``
    times the binary cross-entropy of probability ``p`` and target ``t`` in [0, 1], summed over a kind of landmark and
    divided by the sum of its targets in the batch; the kinds count the same, however many landmarks they have. Hardly
    any voxel is near a landmark; the factor keeps the many easy ones from drowning the rest, with no weight for
    positive ones, which would raise false peaks.

    Parameters
    ----------
    sharpness
        Exponent of the factor.
    region_weight
        Of the regions' term against the maps'.
    """

    def __init__(self, *, sharpness: float = 2.0, region_weight: float = 1.0) -> None:
        super().__init__()
        self.sharpness, self.region_weight = sharpness, region_weight

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A scalar.

        Parameters
        ----------
        logits
            ``(batch, len(LANDMARKS) + len(REGIONS), x, y, z)``.
        target
            ``(batch, len(LANDMARKS) + 1, x, y, z)`` as `LandmarkMapsd` makes it; what is `UNKNOWN` in the maps, and
        regions of -1, are left out.
        """
        logits = logits.float()
        maps, wanted = logits[:, : len(LANDMARKS)], target[:, : len(LANDMARKS)]
        known, wanted = wanted >= 0, wanted.clamp(min=0)
        wrong = known * (torch.sigmoid(maps).detach() - wanted).abs() ** self.sharpness
        focal = (wrong * binary_cross_entropy_with_logits(maps, wanted, reduction="none")).sum(dim=_ALL_BUT_KINDS)
        loss = (focal / wanted.sum(dim=_ALL_BUT_KINDS).clamp(min=_LEAST)).mean()
        regions = target[:, -1].long()
        if self.region_weight > 0 and (regions >= 0).any():
            named = cross_entropy(logits[:, len(LANDMARKS) :], regions, ignore_index=-1)
            loss = loss + self.region_weight * named
        return loss


_ALL_BUT_KINDS = (0, 2, 3, 4)
_LEAST = 25.0
"""The least sum of targets to divide by: that of about one landmark."""
