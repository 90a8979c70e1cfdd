"""The anatomical frame of a disc level: the place of its canal, and the directions right, forwards and up, in RAS mm.

The first half of a crop's geometry, from points alone; `pose` makes the grid of samples from a frame and a view.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, Condition, Group, Level

_LEVELS = tuple(Level)
_PAIRS = (
    (Condition.LEFT_NEURAL_FORAMINAL_NARROWING, Condition.RIGHT_NEURAL_FORAMINAL_NARROWING),
    (Condition.LEFT_SUBARTICULAR_STENOSIS, Condition.RIGHT_SUBARTICULAR_STENOSIS),
)
_AXIS_WEIGHT_MM = 40.0
"""Weight of the volumes' left-right axis in the mean with pairs of points: that of one pair 40 mm apart, about the
distance of two foramina."""

Column = Mapping[int, Array]
"""Points of one condition (RAS mm) by the index of their level in `Level`."""


class Origin(str, Enum):
    """What the place of a level's canal was taken from."""

    CANAL = "canal"
    RECESSES = "recesses"
    FORAMINA = "foramina"
    NEIGHBOURS = "neighbours"


@dataclass(frozen=True)
class LevelFrame:
    """A level's own axes, right-handed as right × forwards = up."""

    level: Level
    right: Array
    forwards: Array
    up: Array
    """``right``, ``forwards``, ``up``: unit vectors in RAS: the patient's left-right axis, and the canal's axis made
    perpendicular to it."""
    anchors: Mapping[Group, Array]
    """RAS mm of the point that each group of conditions is centred on: the canal, the middle between the foramina, the
    middle between the recesses. If a pair is unknown, its offset from the canal is copied from the nearest level that
    has both; if there is none, the anchor is the canal."""
    origin: Origin
    """What the canal's place was taken from."""

    @property
    def basis(self) -> Array:
        """``(3, 3)``, columns right, forwards and up."""
        return np.stack([self.right, self.forwards, self.up], axis=1)


def level_frames(points: Mapping[str, npt.ArrayLike], axis: npt.ArrayLike = (1.0, 0.0, 0.0)) -> dict[Level, LevelFrame]:
    """Frames of the levels whose place follows from the points; other levels have none.

    A level without a canal point takes its canal from, in this order: its recesses; its foramina (both by their offset
    from the canal at the nearest level that has both, else as the middle between left and right); its neighbours, as
    the middle between two or by extrapolating two.

    The left-right axis of a level is the mean of ``axis`` and of the vectors from left to right points of the level and
    its neighbours. ``axis`` alone decides which side is right: a pair that runs against it, as after a swap of names,
    does not count.

    Parameters
    ----------
    points
        RAS mm under the names of the findings (`monai_spine.spine.TARGETS`); any may be missing.
    axis
        Left-right axis of the study's volumes, pointing to the patient's right.
    """
    columns = _columns(points)
    canal, origins = _canal(columns)
    sides = np.asarray(axis, dtype=np.float64)
    frames = {}
    for n, origin in canal.items():
        right = _right(columns, n, sides)
        up = _up(canal, n, right)
        anchors = {Group.SPINAL: origin}
        for group, pair in zip((Group.FORAMINAL, Group.SUBARTICULAR), _PAIRS, strict=True):
            anchors[group] = _anchor(_midway(columns, pair), columns[Condition.SPINAL_CANAL_STENOSIS], origin, n)
        frames[_LEVELS[n]] = LevelFrame(_LEVELS[n], right, np.cross(up, right), up, anchors, origins[n])
    return frames


def _columns(points: Mapping[str, npt.ArrayLike]) -> dict[Condition, dict[int, Array]]:
    columns: dict[Condition, dict[int, Array]] = {condition: {} for condition in Condition}
    for finding in FINDINGS:
        if finding.name in points:
            place = np.asarray(points[finding.name], dtype=np.float64)
            columns[finding.condition][_LEVELS.index(finding.level)] = place
    return columns


def _canal(columns: Mapping[Condition, Column]) -> tuple[dict[int, Array], dict[int, Origin]]:
    """The canal at every level where it is known or can be estimated, and its origin."""
    marked = columns[Condition.SPINAL_CANAL_STENOSIS]
    known: dict[int, Array] = {}
    origins: dict[int, Origin] = {}
    for n in range(len(_LEVELS)):
        # In this order: the recesses lie closer to the canal than the foramina, so their offset is the surer one.
        guesses = {
            Origin.CANAL: marked.get(n),
            Origin.RECESSES: _from_pair(columns, _PAIRS[1], n),
            Origin.FORAMINA: _from_pair(columns, _PAIRS[0], n),
        }
        best = next(((origin, place) for origin, place in guesses.items() if place is not None), None)
        if best is not None:
            origins[n], known[n] = best
    # Only levels with points of their own are continued: two steps from the last point nothing is estimated.
    beside = {n: place for n in range(len(_LEVELS)) if n not in known and (place := _continued(known, n)) is not None}
    canal = known | beside
    return {n: canal[n] for n in sorted(canal)}, origins | dict.fromkeys(beside, Origin.NEIGHBOURS)


def _from_pair(columns: Mapping[Condition, Column], pair: tuple[Condition, Condition], n: int) -> Array | None:
    """The canal from a pair of points: each moved by its offset from the canal at other levels, or their middle."""
    canal = columns[Condition.SPINAL_CANAL_STENOSIS]
    # One side is enough where other levels show how it lies to the canal.
    moved = [
        columns[side][n] + shift
        for side in pair
        if n in columns[side] and (shift := _shift(columns[side], canal, n)) is not None
    ]
    return np.mean(moved, axis=0) if moved else _midway(columns, pair).get(n)


def _midway(columns: Mapping[Condition, Column], pair: tuple[Condition, Condition]) -> dict[int, Array]:
    left, right = (columns[side] for side in pair)
    return {n: (left[n] + right[n]) / 2 for n in left.keys() & right.keys()}


def _anchor(middles: Column, canal: Column, origin: Array, n: int) -> Array:
    if n in middles:
        return middles[n]
    shift = _shift(canal, middles, n)
    return origin if shift is None else origin + shift


def _shift(start: Column, end: Column, n: int) -> Array | None:
    """The vector between points of two conditions, at the level nearest to ``n`` that has both, or the mean of two."""
    common = sorted(start.keys() & end.keys(), key=lambda known: abs(known - n))
    nearest = [known for known in common if abs(known - n) == abs(common[0] - n)]
    return np.mean([end[known] - start[known] for known in nearest], axis=0) if nearest else None


def _continued(known: Column, n: int) -> Array | None:
    """The canal at level ``n`` between its two neighbours, or one step beyond two levels on the same side."""
    if n - 1 in known and n + 1 in known:
        return (known[n - 1] + known[n + 1]) / 2
    for step in (1, -1):
        if n + step in known and n + 2 * step in known:
            return 2 * known[n + step] - known[n + 2 * step]
    return None


def _right(columns: Mapping[Condition, Column], n: int, axis: Array) -> Array:
    # Long vectors count more: the same error of a point turns them less.
    total = _AXIS_WEIGHT_MM * axis / np.linalg.norm(axis)
    for left, right in _PAIRS:
        for near in (n - 1, n, n + 1):
            if near in columns[left] and near in columns[right]:
                across = columns[right][near] - columns[left][near]
                total = total + across * (across @ axis > 0)  # a swapped pair adds nothing
    return np.asarray(total / np.linalg.norm(total), dtype=np.float64)


def _up(canal: Column, n: int, right: Array) -> Array:
    """Unit vector along the canal from the level below to the level above; straight up if there is one level only."""
    above, below = canal.get(n - 1, canal[n]), canal.get(n + 1, canal[n])
    along = above - below if (above != below).any() else np.array([0.0, 0.0, 1.0])
    # The frame must be orthogonal; the left-right axis is kept, and the canal's axis gives way.
    along = along - (along @ right) * right
    return np.asarray(along / np.linalg.norm(along), dtype=np.float64)
