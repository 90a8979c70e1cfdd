"""Training of the level network: Gaussians at the landmarks and regions of the spine as target maps, and the loss.

`maps` has the form of the maps, and `peaks` reads them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from monai_spine.geometry import Array, spacing, to_voxel
from monai_spine.levels.sagittal import maps as map_form
from monai_spine.levels.sagittal.maps import LANDMARKS, STRIDE, gaussians, map_affine, map_size

UNKNOWN = -1.0
"""Value of a target where it is unknown whether there is a landmark; the loss leaves it out."""
MOST_LANDMARKS = 40
"""Rows in the table of each type of landmark: tables of one size can be put into batches."""
_DEVIATION_MM = np.array([5.0, 4.5, 4.5])
"""Standard deviations of the Gaussians: across slices, which are about 4 mm apart, then in them."""
_LUMBAR_COUNT = {"canal": 5, "foramen": 10, "lumbosacral": 1}
"""Number of landmarks of each type if all graded levels are marked."""
_OUTSIDE_HEIGHT = 0.05
"""A Gaussian lower than this no longer belongs to its landmark."""
_HALF_PITCH_MM = 15.0
"""Half the distance from disc to disc."""


class LandmarkMapsd:
    """Make the target maps of an image from points.

    Expects ``image`` ``(1, x, y, z)``, ``affine`` from its voxels to RAS mm with orthogonal axes, points ``(n, 3)`` in
    RAS mm under each name of `LANDMARKS`, and maybe ``label``, the numbers of the regions ``(1, x, y, z)``. Sets

    - ``landmarks``: float64 ``(len(LANDMARKS), MOST_LANDMARKS, 3)``, the points of each type, filled up with NaN;
    - ``label``: float32 ``(len(LANDMARKS) + 1, x, y / 2, z / 2)``: for each type a map with a Gaussian of height 1 at
      each point (the larger value where two meet), then the number of the region, or -1 if there was no ``label``.

    ``lumbar_only``: whether only the five graded levels are marked, as in a datalist. Other levels may be in view
    without marks, so parts of the maps are `UNKNOWN`: everything more than half a disc's distance above the uppermost
    mark of a type; and, if some marks of a type are missing, everything but the marks.
    """

    def __init__(self, *, lumbar_only: bool = False) -> None:
        self.lumbar_only = lumbar_only

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the maps to the record."""
        size = map_size(np.shape(data["image"])[1:])
        affine = map_affine(np.asarray(data["affine"], dtype=np.float64))
        maps = [torch.from_numpy(gaussians(np.asarray(data[name]), affine, size, _DEVIATION_MM)) for name in LANDMARKS]
        if self.lumbar_only:
            maps = [
                _with_unknown(values, np.asarray(data[name]), affine, _LUMBAR_COUNT[name])
                for name, values in zip(LANDMARKS, maps, strict=True)
            ]
        regions = torch.full(size, -1.0)
        if "label" in data:
            # Every second voxel, as the maps have them: voxel 0 of both lies at the same place.
            regions = torch.as_tensor(np.asarray(data["label"])[0, :, ::STRIDE, ::STRIDE]).float()
        landmarks = np.full((len(LANDMARKS), MOST_LANDMARKS, 3), np.nan)
        for row, name in zip(landmarks, LANDMARKS, strict=True):
            row[: len(data[name])] = data[name]
        return {**data, "landmarks": landmarks, "label": torch.stack([*maps, regions])}


def _with_unknown(values: torch.Tensor, points: npt.NDArray[Any], affine: Array, expected: int) -> torch.Tensor:
    """The map of one type with `UNKNOWN` where landmarks may lie that nobody marked."""
    if len(points) < expected:
        return torch.where(values < _OUTSIDE_HEIGHT, torch.tensor(UNKNOWN), values)
    if expected > 1:  # there is one lumbosacral disc, so nothing above its mark is unknown
        top = float(to_voxel(affine, points)[:, 2].max()) + _HALF_PITCH_MM / float(spacing(affine)[2])
        values[:, :, max(0, int(np.ceil(top))) :] = UNKNOWN
    return values


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """`maps.probabilities` of a network's output, for the postprocessing of a bundle."""
    return torch.from_numpy(map_form.probabilities(logits.detach().float().cpu().numpy())).to(logits.device)


_FOCAL_EXPONENT = 2.0
_ALL_BUT_TYPE = (0, 2, 3, 4)
_LEAST_SUM = 25.0
"""Least sum of targets to divide by, that of about one landmark: a batch may show no landmark of a type."""


class LandmarkLoss(nn.Module):
    """Quality focal loss of the maps plus cross-entropy of the regions.

    The first term is that of Li et al. 2020 (arXiv:2006.04388, equation 4): the factor ``|t - p| ** 2`` times the
    binary cross-entropy of probability ``p`` and target ``t`` in [0, 1]. It is summed over all voxels of a type of
    landmark and divided by the sum of the targets of that type in the batch. The mean over the types is taken.

    ``region_weight``: weight of the regions' term; the maps' term has weight 1.
    """

    def __init__(self, *, region_weight: float = 1.0) -> None:
        super().__init__()
        self.region_weight = region_weight

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A scalar.

        ``logits``: ``(batch, len(LANDMARKS) + len(REGIONS), x, y, z)``.
        ``target``: ``(batch, len(LANDMARKS) + 1, x, y, z)`` as `LandmarkMapsd` makes it. Voxels that are `UNKNOWN` in
        the maps, and regions of -1, do not count.
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
