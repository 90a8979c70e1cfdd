"""What a network that finds landmarks is to answer: maps that are 1 at the landmarks, and the regions of the spine."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import MapTransform

from monai_spine.geometry import Array, spacing, to_voxel

LANDMARKS = ("canal", "foramen", "lumbosacral")
"""Channels of the maps: the thecal sac at every disc, every foramen, and the canal at the disc above the sacrum."""
REGIONS = ("background", "body", "disc", "canal", "sacrum")
"""Names of the label map's numbers; a channel each after the maps."""
STRIDE = 2
"""In-plane voxels of the image for one of the maps."""


UNKNOWN = -1.0
"""In a map, where a landmark may be or not."""
_LUMBAR = {"canal": 5, "foramen": 10, "lumbosacral": 1}
"""How many of a kind are marked if all graded levels are."""
_FAINT = 0.05
_HALF_PITCH = 15.0
"""Half the distance in mm from disc to disc."""
MOST_LANDMARKS = 40
"""Rows of a table of landmarks of one kind."""


class LandmarkMapsd(MapTransform):
    """Points in RAS mm to maps on the network's grid.

    Adds ``landmarks``, the points of all kinds as float64 ``(len(LANDMARKS), MOST_LANDMARKS, 3)``, NaN where there are
    no more of a kind, so that batches can be made of them. Under ``output_key`` it adds a float32 tensor
    ``(len(LANDMARKS) + 1, x, y / 2, z / 2)``: a map per kind of landmark, a Gaussian of height 1 at each point (the
    larger one where two meet), and the number of the region, or -1 everywhere where the record has no ``label``.
    Expects ``image`` ``(1, x, y, z)``, ``affine`` from its voxels to RAS mm with orthogonal axes, and ``(n, 3)`` points
    under each name of `LANDMARKS`.

    Parameters
    ----------
    deviation
        Of the Gaussian in mm: across slices, then inside them.
    output_key
        Where the tensor goes.
    lumbar_only
        Whether only the five graded levels are marked, as in a datalist. What nobody looked for is `UNKNOWN` in the
        maps then: all that lies above the uppermost mark of a kind by more than half a disc's distance; all but the
        marks themselves where some of the kind are missing.
    """

    def __init__(
        self, *, deviation: Sequence[float] = (5.0, 4.5), output_key: str = "label", lumbar_only: bool = False
    ) -> None:
        super().__init__(keys=LANDMARKS)
        across, inside = (float(mm) for mm in deviation)
        self.deviation = np.array([across, inside, inside])
        self.output_key = output_key
        self.lumbar_only = lumbar_only

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the maps to the record."""
        size = map_size(np.shape(data["image"])[1:])
        affine = map_affine(np.asarray(data["affine"], dtype=np.float64))
        maps = [gaussians(np.asarray(data[str(name)]), affine, size, self.deviation) for name in self.keys]
        if self.lumbar_only:
            maps = [
                _with_unknown(values, np.asarray(data[name]), affine, _LUMBAR[name])
                for name, values in zip(LANDMARKS, maps, strict=True)
            ]
        regions = torch.full(size, -1.0)
        if "label" in data:
            regions = torch.as_tensor(np.asarray(data["label"])[0, :, ::STRIDE, ::STRIDE]).float()
        landmarks = np.full((len(LANDMARKS), MOST_LANDMARKS, 3), np.nan)
        for row, name in zip(landmarks, self.keys, strict=True):
            row[: len(data[str(name)])] = data[str(name)]
        return {**data, "landmarks": landmarks, self.output_key: torch.stack([*maps, regions])}


def _with_unknown(values: torch.Tensor, points: npt.NDArray[Any], affine: Array, expected: int) -> torch.Tensor:
    """A map where what nobody looked for is `UNKNOWN`."""
    if len(points) < expected:
        return torch.where(values < _FAINT, torch.tensor(UNKNOWN), values)
    if expected > 1:
        top = float(to_voxel(affine, points)[:, 2].max()) + _HALF_PITCH / float(spacing(affine)[2])
        values[:, :, max(0, int(np.ceil(top))) :] = UNKNOWN
    return values


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """A network's logits, channels first, as numbers from 0 to 1: each map for itself, the regions sharing 1."""
    logits = logits.float()
    landmarks, regions = logits[: len(LANDMARKS)], logits[len(LANDMARKS) :]
    return torch.cat([torch.sigmoid(landmarks), torch.softmax(regions, dim=0)])


def map_size(size: Sequence[int]) -> tuple[int, int, int]:
    """Voxels of the maps of an image of ``size`` voxels."""
    x, y, z = size
    return x, -(-y // STRIDE), -(-z // STRIDE)


def map_affine(affine: Array) -> Array:
    """From voxels of the maps to RAS mm, given the image's affine; voxel 0 of both lies at the same place."""
    return np.asarray(affine @ np.diag([1.0, STRIDE, STRIDE, 1.0]), dtype=np.float64)


def gaussians(points: npt.NDArray[Any], affine: Array, size: Sequence[int], deviation: Array) -> torch.Tensor:
    """A map ``(x, y, z)`` of the largest of the Gaussians around RAS points ``(n, 3)``; 0 where there are none."""
    if not len(points):
        return torch.zeros(tuple(size))
    scale = spacing(affine) / deviation
    voxels = torch.from_numpy(to_voxel(affine, points)).float()
    along = [
        torch.exp(-0.5 * ((torch.arange(n, dtype=torch.float32) - voxels[:, axis, None]) * float(scale[axis])) ** 2)
        for axis, n in enumerate(size)
    ]
    x, y, z = along
    return (x[:, :, None, None] * (y[:, :, None] * z[:, None, :])[:, None]).amax(dim=0)
