"""The anatomical frame of a disc level: where the canal is, and where right, forwards and up are, in RAS mm."""

from __future__ import annotations

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
"""The volumes' left-right axis counts as much as one pair of points this far apart, about that of two foramina."""

Column = Mapping[int, Array]
"""Points of one kind by the index of their level."""


class Origin(str, Enum):
    """What told where the canal is at a level."""

    CANAL = "canal"
    RECESSES = "recesses"
    FORAMINA = "foramina"
    NEIGHBOURS = "neighbours"


@dataclass(frozen=True)
class LevelFrame:
    """A level's own axes, right-handed as right × forwards = up.

    Attributes
    ----------
    right, forwards, up
        Unit vectors in RAS: the patient's left-right axis, and the canal's axis made perpendicular to it.
    anchors
        RAS mm of the middle of what each group of conditions looks at: the canal; midway between the foramina; midway
        between the recesses. Where a pair is not known, it is put where it lies to the canal at the nearest level
        that knows it, or else onto the canal.
    origin
        What told where the canal is.
    """

    level: Level
    right: Array
    forwards: Array
    up: Array
    anchors: Mapping[Group, Array]
    origin: Origin

    @property
    def basis(self) -> Array:
        """``(3, 3)``, columns right, forwards and up."""
        return np.stack([self.right, self.forwards, self.up], axis=1)


def level_frames(points: Mapping[str, npt.ArrayLike], axis: npt.ArrayLike = (1.0, 0.0, 0.0)) -> dict[Level, LevelFrame]:
    """Frames of the levels that the points reach; a level about which they say nothing has none.

    The canal of a level without a canal point is taken, in this order, from its recesses, from its foramina (as they
    lie to the canal at the nearest level that knows both, else midway between left and right), or from its neighbours:
    midway between two, or one step beyond two.

    The left-right axis of a level is the mean of the vectors from left to right points of it and its neighbours and of
    ``axis``. Which side is right is told by ``axis`` alone: a pair that runs against it, as swapped names make it, does
    not count.

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
    """The canal at every level that can be told, and by what."""
    marked = columns[Condition.SPINAL_CANAL_STENOSIS]
    known: dict[int, Array] = {}
    origins: dict[int, Origin] = {}
    for n in range(len(_LEVELS)):
        guesses = {
            Origin.CANAL: marked.get(n),
            Origin.RECESSES: _from_pair(columns, _PAIRS[1], n),
            Origin.FORAMINA: _from_pair(columns, _PAIRS[0], n),
        }
        found = next(((origin, place) for origin, place in guesses.items() if place is not None), None)
        if found is not None:
            origins[n], known[n] = found
    beside = {n: place for n in range(len(_LEVELS)) if n not in known and (place := _continued(known, n)) is not None}
    canal = known | beside
    return {n: canal[n] for n in sorted(canal)}, origins | dict.fromkeys(beside, Origin.NEIGHBOURS)


def _from_pair(columns: Mapping[Condition, Column], pair: tuple[Condition, Condition], n: int) -> Array | None:
    """The canal from the points of either side, each moved as it lies to the canal elsewhere; else midway."""
    canal = columns[Condition.SPINAL_CANAL_STENOSIS]
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
    """From points of one kind to those of another at the level nearest to ``n`` that knows both; the mean of two."""
    common = sorted(start.keys() & end.keys(), key=lambda known: abs(known - n))
    nearest = [known for known in common if abs(known - n) == abs(common[0] - n)]
    return np.mean([end[known] - start[known] for known in nearest], axis=0) if nearest else None


def _continued(known: Column, n: int) -> Array | None:
    if n - 1 in known and n + 1 in known:
        return (known[n - 1] + known[n + 1]) / 2
    for step in (1, -1):
        if n + step in known and n + 2 * step in known:
            return 2 * known[n + step] - known[n + 2 * step]
    return None


def _right(columns: Mapping[Condition, Column], n: int, axis: Array) -> Array:
    total = _AXIS_WEIGHT_MM * axis / np.linalg.norm(axis)
    for left, right in _PAIRS:
        for near in (n - 1, n, n + 1):
            if near in columns[left] and near in columns[right]:
                across = columns[right][near] - columns[left][near]
                total = total + across * (across @ axis > 0)
    return np.asarray(total / np.linalg.norm(total), dtype=np.float64)


def _up(canal: Column, n: int, right: Array) -> Array:
    """Along the canal from the level below to the level above; straight up where it is the only one."""
    above, below = canal.get(n - 1, canal[n]), canal.get(n + 1, canal[n])
    along = above - below if (above != below).any() else np.array([0.0, 0.0, 1.0])
    along = along - (along @ right) * right
    return np.asarray(along / np.linalg.norm(along), dtype=np.float64)
