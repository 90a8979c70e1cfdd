"""The form of the level network's maps: their channels, the grid they lie on, and how logits become probabilities.

It imports no PyTorch: converted networks do without it. What only training needs is in `landmark_maps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from monai_spine.geometry import Array, spacing, to_voxel

Floats = npt.NDArray[np.float32]
LANDMARKS = ("canal", "foramen", "lumbosacral")
"""Channels of the maps: the canal at every disc, every foramen, and the canal at the disc above the sacrum."""
REGIONS = ("background", "body", "disc", "canal", "sacrum")
"""Names of the numbers in the label map; each has a channel after those of the landmarks."""
STRIDE = 2
"""Voxels of the image per voxel of the maps, along columns and rows."""


def probabilities(logits: npt.NDArray[Any]) -> Floats:
    """A network's logits, channels first, as probabilities: a sigmoid for each map, a softmax over the regions."""
    made = np.array(logits, dtype=np.float32)
    landmarks, regions = made[: len(LANDMARKS)], made[len(LANDMARKS) :]
    with np.errstate(over="ignore"):  # of infinity comes 0
        np.reciprocal(1 + np.exp(-landmarks), out=landmarks)
    regions -= regions.max(axis=0)
    np.exp(regions, out=regions)
    regions /= regions.sum(axis=0)
    return made


def map_size(size: Sequence[int]) -> tuple[int, int, int]:
    """Voxels of the maps for an image of ``size`` voxels; halves are rounded up."""
    x, y, z = size
    return x, -(-y // STRIDE), -(-z // STRIDE)


def map_affine(affine: Array) -> Array:
    """The affine of the maps, from the image's affine; voxel 0 of both lies at the same place."""
    return np.asarray(affine @ np.diag([1.0, STRIDE, STRIDE, 1.0]), dtype=np.float64)


def gaussians(points: npt.NDArray[Any], affine: Array, size: Sequence[int], deviation: Array) -> Floats:
    """A map ``(x, y, z)`` of the largest of the Gaussians at RAS points ``(n, 3)``; all 0 without points.

    ``deviation`` is in mm along the three axes of the map.
    """
    if not len(points):
        return np.zeros(tuple(size), dtype=np.float32)
    scale = (spacing(affine) / deviation).astype(np.float32)
    voxels = to_voxel(affine, points).astype(np.float32)
    # A Gaussian along orthogonal axes is a product of three, which takes far less time than distances per voxel.
    x, y, z = (
        np.exp(-0.5 * ((np.arange(n, dtype=np.float32) - voxels[:, axis, None]) * scale[axis]) ** 2)
        for axis, n in enumerate(size)
    )
    drawn: Floats = (x[:, :, None, None] * (y[:, :, None] * z[:, None, :])[:, None]).max(axis=0)
    return drawn
