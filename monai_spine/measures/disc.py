"""A disc in its sagittal plane: its heights, and the angle between its end plates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label

from monai_spine.geometry import Array
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.measures.disc_plane import Frame, axis

_STEP = 0.5
_BESIDE = axis(-4.0, 4.0, 4.0)
"""Distances from the canal's plane whose mean is taken, mm: one slice may show the disc's edge only."""
_FRONT, _UP = axis(-5.0, 75.0, _STEP), axis(-40.0, 40.0, _STEP)
_EXPECTED = np.array([27.0, -4.0])
"""The usual place of a disc's middle in the canal's frame, mm."""
_FARTHEST_MM = 22.0
"""A disc's middle is not farther from the usual place."""
_LEAST_MM2 = 60.0
_SHARES = {"back": (0.10, 0.25), "middle": (0.40, 0.60), "front": (0.75, 0.90)}
"""Parts of a disc from its back to its front of which the heights are the mean."""
_INSIDE = (0.12, 0.88)
"""The part along which end plates are fitted: the rims are rounded."""
_BODY_MM = 60.0
"""Most height of a body above a disc."""


@dataclass(frozen=True)
class DiscSize:
    """Heights in mm; angles in degrees, positive where they open to the front.

    ``lower_plate``, ``upper_body_plate``: unit vectors in RAS, to the front, along the disc's lower end plate and along
    the upper end plate of the body above it; the latter is None where the image does not show it.
    """

    front: float
    middle: float
    back: float
    wedge: float
    lower_plate: Array
    upper_body_plate: Array | None


def disc_size(maps: RegionMaps, frame: Frame, offset: float = 0.0) -> DiscSize | None:
    """The disc in front of a canal's point, whose ``frame`` is given. None if no disc is there, or the image cuts it.

    ``offset`` is added to every height: what the regions leave out, mm.
    """
    disc = _mean(maps, ("disc",), frame, _FRONT, _UP)
    own = _component(disc)
    if own is None:
        return None
    # In the disc's own frame, whose first axis lies along it.
    front, up = _FRONT[own[:, 0]], _UP[own[:, 1]]
    weights = disc[own[:, 0], own[:, 1]]
    middle = np.average([front, up], axis=1, weights=weights)
    spread = np.cov(np.array([front, up]), aweights=weights)
    direction = np.linalg.eigh(spread)[1][:, 1]
    direction = direction * np.sign(direction[0] or 1.0)
    tilt = float(np.degrees(np.arctan2(direction[1], direction[0])))
    along = (np.array([front, up]).T - middle) @ direction
    back, end = (float(value) for value in np.quantile(along, [0.01, 0.99]))
    return _measured(maps, frame.turned(tilt, (float(middle[0]), float(middle[1]))), (back, end), offset)


def _measured(maps: RegionMaps, own: Frame, ends: tuple[float, float], offset: float) -> DiscSize | None:
    back, length = ends[0], ends[1] - ends[0]
    columns, rows = axis(back, back + length, length / 60), axis(-14.0, 14.0, 0.25)
    disc = _mean(maps, ("disc",), own, columns, rows)
    heights, low, high = _edges(disc, rows)
    part = np.linspace(0, 1, len(columns))
    plates = (part >= _INSIDE[0]) & (part <= _INSIDE[1]) & (heights > 0)
    if plates.sum() < 10:
        return None
    lower, upper = (np.polyfit(columns[plates], edge[plates], 1) for edge in (low, high))
    mean = {
        name: max(0.0, float(heights[(part >= first) & (part <= last)].mean()) + offset)
        for name, (first, last) in _SHARES.items()
    }
    half = float(np.median(heights[plates])) / 2
    lower_angle, upper_angle = (float(np.degrees(np.arctan(one[0]))) for one in (lower, upper))
    if not maps.shows(own.places(np.zeros(1), np.array(ends), np.array([-half - 1.0, half + 1.0]))):
        return None
    plate = _upper_plate(maps, own, columns[plates], half)
    return DiscSize(
        mean["front"],
        mean["middle"],
        mean["back"],
        upper_angle - lower_angle,
        own.turned(lower_angle, (0.0, 0.0)).front,
        None if plate is None else own.turned(plate, (0.0, 0.0)).front,
    )


def _mean(maps: RegionMaps, names: tuple[str, ...], frame: Frame, front: Array, up: Array) -> Array:
    return np.asarray(maps.at(names, frame.places(_BESIDE, front, up)).mean(axis=0))


def _component(disc: Array) -> npt.NDArray[np.int64] | None:
    """Places ``(n, 2)`` of the disc in a patch: the part whose middle is nearest to the usual place."""
    numbers, count = label(disc > 0.5)
    parts = [np.argwhere(numbers == n) for n in range(1, count + 1)]
    parts = [part for part in parts if len(part) * _STEP**2 >= _LEAST_MM2]
    if not parts:
        return None
    away = [np.linalg.norm([_FRONT[part[:, 0]].mean(), _UP[part[:, 1]].mean()] - _EXPECTED) for part in parts]
    nearest = int(np.argmin(away))
    return parts[nearest] if away[nearest] <= _FARTHEST_MM else None


def _edges(disc: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Height, lower and upper edge of each column of a disc ``(columns, rows)`` about row 0, mm."""
    step = rows[1] - rows[0]
    height, low, high = (np.zeros(len(disc)) for _ in range(3))
    for n, column in enumerate(disc):
        # A neighbouring disc is at least a body away, but a fissure may divide the disc itself.
        height[n] = column.sum() * step
        if height[n] > 0:
            middle = float((column * rows).sum() / column.sum())
            low[n], high[n] = middle - height[n] / 2, middle + height[n] / 2
    return height, low, high


def _upper_plate(maps: RegionMaps, own: Frame, columns: Array, half: float) -> float | None:
    """The angle in degrees, in the disc's frame, of the upper end plate of the body above the disc."""
    rows = axis(half + 6.0, half + _BODY_MM, 0.5)
    bone = _mean(maps, ("body",), own, columns, rows)
    outside = bone < 0.5
    seen = ~outside[:, 0] & outside.any(axis=1)
    if seen.mean() < 0.7:
        return None
    tops = rows[outside.argmax(axis=1)]
    # The disc above proves that the body ends there, rather than the image.
    above = _mean(maps, ("disc",), own, columns, rows)
    proven = seen & (above.max(axis=1) > 0.5)
    if proven.mean() < 0.6:
        return None
    slope = np.polyfit(columns[proven], tops[proven], 1)[0]
    return float(np.degrees(np.arctan(slope)))
