"""Merges the points of a study's volumes, and flags all levels as uncertain if two volumes name a disc differently.

The surest sagittal volume leads, the others fill gaps, and the recesses are put on the nearest axial planes. It follows
the localizers (`search`) and comes before the files (`files`, `located_records`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monai_spine.data.coverage import PLANE_LIMIT_MM, Grid
from monai_spine.data.volume import Opener, open_volume, slice_geometry
from monai_spine.levels.recesses.planes import Detector, recess_plane, recess_points
from monai_spine.levels.sagittal.chain import Flag, levels
from monai_spine.levels.sagittal.points import Absent, Key, LevelPoint, PointKind, SpinePoints
from monai_spine.spine import Level, Side

NO_SPINE = "no lumbar spine found"
_SAME_DISC_MM = 12.0
"""Canal points of two volumes that are closer than this mark the same disc."""


@dataclass(frozen=True)
class LocatedStudy:
    """The points of a study."""

    study: str
    points: tuple[LevelPoint, ...]
    absent: tuple[Absent, ...]
    volumes: Mapping[str, str]
    """For each sagittal volume, by its name: ``found``, or the reason why it gave no points."""
    planes: Mapping[Level, tuple[str, int, float]]
    """For each level the axial plane nearest to its recesses: the stack's name, the slice, and mm to the middle between
    the expected recesses."""

    @property
    def found(self) -> bool:
        """Whether any point was found."""
        return bool(self.points)


def axial_grids(paths: Mapping[str, Path], opened: Opener = open_volume) -> dict[str, Grid]:
    """Positions of axial stacks, by the names of their files, which ``opened`` opens."""
    return {name: Grid(*slice_geometry(opened(path))) for name, path in paths.items()}


def unite(
    study: str,
    answers: Mapping[str, SpinePoints],
    refused: Mapping[str, str],
    axial: Mapping[str, Grid],
    detect: Detector,
) -> LocatedStudy:
    """One answer from the answers of a study's sagittal volumes.

    ``refused``: the reason why a volume could not be used, by its name.
    ``detect``: detects the recesses in an axial plane.
    """
    spines = {name: points for name, points in answers.items() if points.chain is not None}
    volumes = {name: "found" if name in spines else NO_SPINE for name in answers} | dict(refused)
    if not spines:
        return LocatedStudy(study, (), (), volumes, {})
    surest = max(spines, key=lambda name: _trust(spines[name]))
    leader, others = spines[surest], [points for name, points in spines.items() if name != surest]
    points = _filled_in(leader, others)
    # Two series that count differently cannot both be right, and nothing shows which one is.
    if any(_names_otherwise(leader, other) for other in others):
        points = {key: _uncertain(point) for key, point in points.items()}
    # Recesses come from the leader alone, so that all levels are counted in one way.
    recesses, absent, planes = _recesses(leader, axial, detect)
    absent = [one for one in (*leader.absent, *absent) if (one.kind, one.level, one.side) not in points]
    ordered = sorted((*points.values(), *recesses), key=_order)
    return LocatedStudy(study, tuple(ordered), tuple(absent), volumes, planes)


def _trust(points: SpinePoints) -> tuple[bool, float]:
    """Rank of a volume: certain levels come before uncertain ones, then the sum of the canal's confidences decides."""
    canal = [point.confidence for point in points.points if point.kind is PointKind.CANAL]
    return points.chain is not None and points.chain.certain, float(np.sum(canal))


def _keyed(points: SpinePoints) -> dict[Key, LevelPoint]:
    return {(point.kind, point.level, point.side): point for point in points.points}


def _filled_in(leader: SpinePoints, others: Sequence[SpinePoints]) -> dict[Key, LevelPoint]:
    """The leader's points. Where it has none, or only an interpolated one, a surer point of another volume."""
    points = _keyed(leader)
    for other in others:
        # A volume that counts differently would bring in points of other levels.
        if _names_otherwise(leader, other):
            continue
        for key, point in _keyed(other).items():
            own = points.get(key)
            if own is None or (Flag.INTERPOLATED.value in own.flags and point.confidence > own.confidence):
                points[key] = point
    return points


def _names_otherwise(leader: SpinePoints, other: SpinePoints) -> bool:
    """Whether a disc that both volumes show has two names."""
    for key, point in _keyed(leader).items():
        for other_key, candidate in _keyed(other).items():
            both_canal = key[0] is other_key[0] is PointKind.CANAL
            if (
                both_canal
                and key[1] is not other_key[1]
                and np.linalg.norm(point.world - candidate.world) <= _SAME_DISC_MM
            ):
                return True
    return False


def _uncertain(point: LevelPoint) -> LevelPoint:
    flag = Flag.UNCERTAIN_LEVEL.value
    return point if flag in point.flags else replace(point, flags=(flag, *point.flags))


def _recesses(
    spine: SpinePoints, axial: Mapping[str, Grid], detect: Detector
) -> tuple[list[LevelPoint], list[Absent], dict[Level, tuple[str, int, float]]]:
    """Both recesses of each level on the axial plane nearest to them; absent where no plane is near."""
    points: list[LevelPoint] = []
    absent: list[Absent] = []
    planes: dict[Level, tuple[str, int, float]] = {}
    level_flags = () if spine.chain is None or spine.chain.certain else (Flag.UNCERTAIN_LEVEL.value,)
    for level, disc in levels(spine.chain) if spine.chain else ():
        # Axial planes are often angled blocks, one per disc, so the plane is searched for each level.
        plane = recess_plane(disc, axial)
        if plane is None:
            # No point is given then: a finding that no slice shows must not be graded.
            reason = f"no axial plane within {PLANE_LIMIT_MM:g} mm of {level.title}" if axial else "no axial series"
            absent += [Absent(PointKind.RECESS, level, side, reason) for side in Side]
            continue
        planes[level] = (plane.name, plane.k, plane.distance)
        points += recess_points(level, plane, detect(plane), level_flags)
    return points, absent, planes


def _order(point: LevelPoint) -> tuple[int, int, int]:
    """Sort key: canal, foramina, recesses; then from above; then left before right."""
    side = 0 if point.side is None else 1 + list(Side).index(point.side)
    return list(PointKind).index(point.kind), list(Level).index(point.level), side
