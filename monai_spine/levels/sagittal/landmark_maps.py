"""Maps of the level network: Gaussians at the landmarks and regions of the spine as targets, the loss, and the peaks.

Also what else depends on the form of the maps: the grid they lie on, and how logits become probabilities.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import maximum_filter
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from monai_spine.geometry import Array, spacing, to_voxel, to_world

LANDMARKS = ("canal", "foramen", "lumbosacral")
"""Channels of the maps: the canal at every disc, every foramen, and the canal at the disc above the sacrum."""
REGIONS = ("background", "body", "disc", "canal", "sacrum")
"""Names of the numbers in the label map; each has a channel after those of the landmarks."""
STRIDE = 2
"""Voxels of the image per voxel of the maps, along columns and rows."""
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
        maps = [gaussians(np.asarray(data[name]), affine, size, _DEVIATION_MM) for name in LANDMARKS]
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
    """A network's logits, channels first, as probabilities: a sigmoid for each map, a softmax over the regions."""
    logits = logits.float()
    landmarks, regions = logits[: len(LANDMARKS)], logits[len(LANDMARKS) :]
    return torch.cat([torch.sigmoid(landmarks), torch.softmax(regions, dim=0)])


def map_size(size: Sequence[int]) -> tuple[int, int, int]:
    """Voxels of the maps for an image of ``size`` voxels; halves are rounded up."""
    x, y, z = size
    return x, -(-y // STRIDE), -(-z // STRIDE)


def map_affine(affine: Array) -> Array:
    """The affine of the maps, from the image's affine; voxel 0 of both lies at the same place."""
    return np.asarray(affine @ np.diag([1.0, STRIDE, STRIDE, 1.0]), dtype=np.float64)


def gaussians(points: npt.NDArray[Any], affine: Array, size: Sequence[int], deviation: Array) -> torch.Tensor:
    """A map ``(x, y, z)`` of the largest of the Gaussians at RAS points ``(n, 3)``; all 0 without points.

    ``deviation`` is in mm along the three axes of the map.
    """
    if not len(points):
        return torch.zeros(tuple(size))
    scale = spacing(affine) / deviation
    voxels = torch.from_numpy(to_voxel(affine, points)).float()
    # A Gaussian along orthogonal axes is a product of three, which takes far less time than distances per voxel.
    along = [
        torch.exp(-0.5 * ((torch.arange(n, dtype=torch.float32) - voxels[:, axis, None]) * float(scale[axis])) ** 2)
        for axis, n in enumerate(size)
    ]
    x, y, z = along
    return (x[:, :, None, None] * (y[:, :, None] * z[:, None, :])[:, None]).amax(dim=0)


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


_NEIGHBOURS = (3, 3, 3)
_WINDOW_MM = 9.0
"""Half width of the window whose centre of mass is a peak's place: two deviations of the Gaussians of training."""
_BASE_SHARE = 0.35
"""Share of the peak's height below which values do not count in the centre of mass, so that neighbours do not pull."""
MOST_PEAKS = 100
"""A spine has 23 discs and 46 foramina. An untrained network leaves hundreds of peaks, and a search over triples of
these took ten minutes."""


@dataclass(frozen=True)
class Peak:
    """A place in RAS mm, and the height of the map there, from 0 to 1."""

    world: Array
    height: float


def find_peaks(values: Array, affine: Array, *, threshold: float, apart: float) -> list[Peak]:
    """The peaks of a map, highest first, and not more than the highest `MOST_PEAKS`.

    Parameters
    ----------
    values
        ``(x, y, z)``, from 0 to 1.
    affine
        ``(4, 4)`` from voxels to RAS mm, with orthogonal axes.
    threshold
        Least height of a peak.
    apart
        Least distance of two peaks in mm; of two closer maxima the lower one is left out.
    """
    tops = (values >= threshold) & (values == maximum_filter(values, _NEIGHBOURS, mode="nearest"))
    voxels = np.argwhere(tops)
    order = np.argsort(-values[tops], kind="stable")  # stable, so that equal heights keep one order everywhere
    peaks: list[Peak] = []
    for voxel in voxels[order]:
        world = to_world(affine, _centre_of_mass(values, voxel, spacing(affine)))
        if all(np.linalg.norm(world - peak.world) >= apart for peak in peaks):
            peaks.append(Peak(world, float(values[tuple(voxel)])))
            if len(peaks) == MOST_PEAKS:
                break
    return peaks


def _centre_of_mass(values: Array, voxel: np.ndarray, step: Array) -> Array:
    """Centre of mass, in voxels, of the values around a peak that exceed `_BASE_SHARE` of its height."""
    # At the edge of the map the window is cut on both sides alike; otherwise it would pull the place inwards.
    half = np.minimum(np.ceil(_WINDOW_MM / step).astype(int), np.minimum(voxel, np.array(values.shape) - 1 - voxel))
    window = values[tuple(slice(at - n, at + n + 1) for at, n in zip(voxel, half, strict=True))]
    mass = np.clip(window - _BASE_SHARE * values[tuple(voxel)], 0.0, None)
    total = mass.sum()
    place = np.empty(3)
    for axis, n in enumerate(half):
        others = tuple(other for other in range(3) if other != axis)
        place[axis] = voxel[axis] + (mass.sum(axis=others) @ np.arange(-n, n + 1)) / total
    return place
