"""Peaks of a map: where landmarks are, to a fraction of a voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter

from monai_spine.geometry import Array, spacing, to_world

_NEIGHBOURS = (3, 3, 3)
_REACH = 9.0
"""Half width in mm of the window whose centre of mass is a peak's place: twice a Gaussian's deviation."""


MOST_PEAKS = 100
"""A spine has 23 discs and 46 foramina between the vertebrae that move."""


@dataclass(frozen=True)
class Peak:
    """A place in RAS mm, and how high the map is there, from 0 to 1."""

    world: Array
    height: float


def find_peaks(values: Array, affine: Array, *, threshold: float, apart: float) -> list[Peak]:
    """The peaks of a map, highest first; of more than `MOST_PEAKS`, as noise has them, the lower ones are left out.

    Parameters
    ----------
    values
        ``(x, y, z)``, from 0 to 1.
    affine
        From voxels to RAS mm, axes orthogonal.
    threshold
        A lower maximum is none.
    apart
        Of two maxima closer than this many mm the lower one is none.
    """
    tops = (values >= threshold) & (values == maximum_filter(values, _NEIGHBOURS, mode="nearest"))
    voxels = np.argwhere(tops)
    order = np.argsort(-values[tops], kind="stable")
    found: list[Peak] = []
    for voxel in voxels[order]:
        world = to_world(affine, _centre_of_mass(values, voxel, spacing(affine)))
        if all(np.linalg.norm(world - peak.world) >= apart for peak in found):
            found.append(Peak(world, float(values[tuple(voxel)])))
            if len(found) == MOST_PEAKS:
                break
    return found


def _centre_of_mass(values: Array, voxel: np.ndarray, step: Array) -> Array:
    """Mean place, in voxels, of what stands out of a third of the peak's height around it.

    The window is the same on both sides, so that the edge of the map does not pull.
    """
    reach = np.minimum(np.ceil(_REACH / step).astype(int), np.minimum(voxel, np.array(values.shape) - 1 - voxel))
    window = values[tuple(slice(at - n, at + n + 1) for at, n in zip(voxel, reach, strict=True))]
    mass = np.clip(window - 0.35 * values[tuple(voxel)], 0.0, None)
    total = mass.sum()
    place = np.empty(3)
    for axis, n in enumerate(reach):
        others = tuple(other for other in range(3) if other != axis)
        place[axis] = voxel[axis] + (mass.sum(axis=others) @ np.arange(-n, n + 1)) / total
    return place
