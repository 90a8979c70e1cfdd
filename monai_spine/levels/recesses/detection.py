"""The recesses in the maps of the recess network: a distribution over the pixels of a crop for each side.

It imports no PyTorch: converted networks do without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monai_spine.geometry import Array, spacing, to_world
from monai_spine.levels.recesses.planes import Detection
from monai_spine.levels.sagittal.maps import Floats, map_affine
from monai_spine.spine import Side

_PEAK_RADIUS_MM = 4.5
"""Radius around a peak: the mass inside is the confidence, its centre of mass is the place. Three deviations of the
Gaussians of training."""


def distributions(logits: npt.NDArray[Any]) -> Floats:
    """A network's logits ``(maps, 1, x, y)`` as distributions over the pixels of each map."""
    made = np.array(logits, dtype=np.float32)
    flat = made.reshape(len(made), -1)
    flat -= flat.max(axis=1, keepdims=True)
    np.exp(flat, out=flat)
    flat /= flat.sum(axis=1, keepdims=True)
    return made


def read_recesses(maps: npt.ArrayLike, affine: Array) -> dict[Side, Detection]:
    """The recesses at the peaks of a crop's maps ``(2, 1, x, y)``.

    ``affine`` is the crop's. A place is the centre of mass within `_PEAK_RADIUS_MM` of the highest pixel.
    """
    planes = np.asarray(maps, dtype=np.float64)[:, 0]
    return {side: _read(plane, map_affine(affine)) for side, plane in zip(Side, planes, strict=True)}


def _read(plane: Array, affine: Array) -> Detection:
    i, j = np.indices(plane.shape)
    step = spacing(affine)[1:]
    top = np.unravel_index(int(plane.argmax()), plane.shape)
    near = ((i - top[0]) * step[0]) ** 2 + ((j - top[1]) * step[1]) ** 2 <= _PEAK_RADIUS_MM**2
    mass = plane * near
    total = float(mass.sum())
    place = [0.0, float((mass * i).sum()) / total, float((mass * j).sum()) / total]
    return Detection(to_world(affine, place), total)
