"""Maps of the level network: Gaussians at the landmarks, and the regions of the spine, as targets of training.

Also what else depends on the form of the maps: the grid they lie on, and how logits become probabilities.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import MapTransform

from monai_spine.geometry import Array, spacing, to_voxel

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


class LandmarkMapsd(MapTransform):
    """Make the target maps of an image from points.

    Expects ``image`` ``(1, x, y, z)``, ``affine`` from its voxels to RAS mm with orthogonal axes, points ``(n, 3)`` in
    RAS mm under each name of `LANDMARKS`, and maybe ``label``, the numbers of the regions ``(1, x, y, z)``. Sets

    - ``landmarks``: float64 ``(len(LANDMARKS), MOST_LANDMARKS, 3)``, the points of each type, filled up with NaN;
    - ``label``: float32 ``(len(LANDMARKS) + 1, x, y / 2, z / 2)``: for each type a map with a Gaussian of height 1 at
      each point (the larger value where two meet), then the number of the region, or -1 if there was no ``label``.

    Parameters
    ----------
    lumbar_only
        Whether only the five graded levels are marked, as in a datalist. Other levels may be in view without marks, so
        parts of the maps are `UNKNOWN`: everything more than half a disc's distance above the uppermost mark of a type;
        and, if some marks of a type are missing, everything but the marks.
    """

    def __init__(self, *, lumbar_only: bool = False) -> None:
        super().__init__(keys=LANDMARKS)
        self.lumbar_only = lumbar_only

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the maps to the record."""
        size = map_size(np.shape(data["image"])[1:])
        affine = map_affine(np.asarray(data["affine"], dtype=np.float64))
        maps = [gaussians(np.asarray(data[str(name)]), affine, size, _DEVIATION_MM) for name in self.keys]
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
        for row, name in zip(landmarks, self.keys, strict=True):
            row[: len(data[str(name)])] = data[str(name)]
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
