"""The peaks of a map: where it is highest around, to a fraction of a voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_spine.geometry import Array, spacing, to_world

_AROUND = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
"""``(27, 3)``: steps from a voxel to itself and to those around it."""
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
    voxels = _tops(values, threshold)
    heights = values[tuple(voxels.T)]
    order = np.argsort(-heights, kind="stable")  # stable, so that equal heights keep one order everywhere
    peaks: list[Peak] = []
    places = np.empty((MOST_PEAKS, 3))
    for voxel, height in zip(voxels[order], heights[order], strict=True):
        world = to_world(affine, _centre_of_mass(values, voxel, spacing(affine)))
        if (np.linalg.norm(places[: len(peaks)] - world, axis=1) >= apart).all():
            places[len(peaks)] = world
            peaks.append(Peak(world, float(height)))
            if len(peaks) == MOST_PEAKS:
                break
    return peaks


def _tops(values: Array, threshold: float) -> npt.NDArray[np.intp]:
    """Voxels ``(n, 3)`` of at least the threshold, than which none of the 26 around is higher."""
    # Few voxels reach the threshold, so looking around these alone takes a tenth of the time of a filter of the map.
    voxels = np.argwhere(values >= threshold)
    for step in _AROUND:
        beside = np.clip(voxels + step, 0, np.array(values.shape) - 1)
        voxels = voxels[values[tuple(voxels.T)] >= values[tuple(beside.T)]]
    return voxels


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
