"""A study's points from all of its volumes: the surest sagittal one leads, the others fill in, axial planes cover."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monai_spine.data.coverage import PLANE_LIMIT_MM, Grid
from monai_spine.data.volume import open_volume
from monai_spine.levels.recesses.planes import Look, recess_plane, recess_points
from monai_spine.levels.sagittal.chain import Flag, levels
from monai_spine.levels.sagittal.points import Absent, LevelPoint, PointKind, SpinePoints
from monai_spine.spine import Level, Side

NO_SPINE = "no lumbar spine found"
_SAME_PLACE = 12.0
"""Millimetres within which two volumes' canal points mean one disc."""

Key = tuple[PointKind, Level, Side | None]


@dataclass(frozen=True)
class LocatedStudy:
    """What was found of a study.

    Attributes
    ----------
    volumes
        What became of each sagittal volume by its name: ``found``, or why nothing was.
    planes
        For each level the axial stack and plane nearest to its recesses: name, slice, and mm to the middle between the
        places where they should be.
    """

    study: str
    points: tuple[LevelPoint, ...]
    absent: tuple[Absent, ...]
    volumes: Mapping[str, str]
    planes: Mapping[Level, tuple[str, int, float]]

    @property
    def found(self) -> bool:
        """Whether any point was."""
        return bool(self.points)


def axial_grids(paths: Iterable[str | Path]) -> dict[str, Grid]:
    """Where axial stacks lie, by the names of their files."""
    images = {Path(path).name: open_volume(path) for path in paths}
    return {name: Grid(np.asarray(image.affine, dtype=np.float64), image.shape) for name, image in images.items()}


def unite(
    study: str,
    found: Mapping[str, SpinePoints],
    refused: Mapping[str, str],
    axial: Mapping[str, Grid],
    look: Look | None = None,
) -> LocatedStudy:
    """One answer from the answers of a study's sagittal volumes.

    Parameters
    ----------
    found
        Answers by the names of the volumes.
    refused
        Why a volume could not be looked at, by its name.
    axial
        The axial stacks by name.
    look
        Who looks for the recesses in an axial plane; without it they are projected.
    """
    spines = {name: points for name, points in found.items() if points.chain is not None}
    volumes = {name: "found" if name in spines else NO_SPINE for name in found} | dict(refused)
    if not spines:
        return LocatedStudy(study, (), (), volumes, {})
    first = max(spines, key=lambda name: _trust(spines[name]))
    leader, others = spines[first], [points for name, points in spines.items() if name != first]
    points = _filled_in(leader, others)
    if any(_names_otherwise(leader, other) for other in others):
        points = {key: _doubted(point) for key, point in points.items()}
    recesses, absent, planes = _recesses(leader, axial, look)
    absent = [one for one in (*leader.absent, *absent) if (one.kind, one.level, one.side) not in points]
    ordered = sorted((*points.values(), *recesses), key=_order)
    return LocatedStudy(study, tuple(ordered), tuple(absent), volumes, planes)


def _trust(points: SpinePoints) -> tuple[bool, float]:
    canal = [point.confidence for point in points.points if point.kind is PointKind.CANAL]
    return points.chain is not None and points.chain.certain, float(np.sum(canal))


def _keyed(points: SpinePoints) -> dict[Key, LevelPoint]:
    return {(point.kind, point.level, point.side): point for point in points.points}


def _filled_in(leader: SpinePoints, others: Sequence[SpinePoints]) -> dict[Key, LevelPoint]:
    """The leader's points; where another volume saw better what the leader only guessed, the other's."""
    points = _keyed(leader)
    for other in others:
        if _names_otherwise(leader, other):
            continue
        for key, point in _keyed(other).items():
            mine = points.get(key)
            if mine is None or (Flag.INTERPOLATED.value in mine.flags and point.confidence > mine.confidence):
                points[key] = point
    return points


def _names_otherwise(leader: SpinePoints, other: SpinePoints) -> bool:
    """Whether a disc that both saw has two names."""
    mine, theirs = _keyed(leader), _keyed(other)
    for key, point in mine.items():
        for other_key, candidate in theirs.items():
            both_canal = key[0] is other_key[0] is PointKind.CANAL
            if both_canal and key[1] is not other_key[1] and _distance(point, candidate) <= _SAME_PLACE:
                return True
    return False


def _distance(a: LevelPoint, b: LevelPoint) -> float:
    return float(np.linalg.norm(a.world - b.world))


def _doubted(point: LevelPoint) -> LevelPoint:
    flag = Flag.UNCERTAIN_LEVEL.value
    return point if flag in point.flags else replace(point, flags=(flag, *point.flags))


def _recesses(
    points: SpinePoints, axial: Mapping[str, Grid], look: Look | None
) -> tuple[list[LevelPoint], list[Absent], dict[Level, tuple[str, int, float]]]:
    """Both recesses of each level on the axial plane nearest to them; absent where no plane is near."""
    found: list[LevelPoint] = []
    absent: list[Absent] = []
    planes: dict[Level, tuple[str, int, float]] = {}
    doubt = () if points.chain is None or points.chain.certain else (Flag.UNCERTAIN_LEVEL.value,)
    for level, disc in levels(points.chain) if points.chain else ():
        plane = recess_plane(disc, axial)
        if plane is None:
            reason = f"no axial plane within {PLANE_LIMIT_MM:g} mm of {level.title}" if axial else "no axial series"
            absent += [Absent(PointKind.RECESS, level, side, reason) for side in Side]
            continue
        planes[level] = (plane.name, plane.k, plane.distance)
        found += recess_points(level, plane, look(plane) if look else {}, doubt)
    return found, absent, planes


def _order(point: LevelPoint) -> tuple[int, int, int]:
    side = 0 if point.side is None else 1 + list(Side).index(point.side)
    return list(PointKind).index(point.kind), list(Level).index(point.level), side
