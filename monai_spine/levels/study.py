"""Merges the points of a study's volumes, and flags all levels as uncertain if two volumes name a disc differently.

The surest sagittal volume names the levels. Each finding then takes the point of the series type that it is read on:
the canal from T2, the foramina from T1, and the recesses are put on the nearest axial planes. It follows
the localizers (`search`) and comes before the files (`files`, `located_records`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monai_spine.data.coverage import PLANE_LIMIT_MM, Grid
from monai_spine.data.volume import Opener, open_volume, slice_geometry
from monai_spine.levels.recesses.planes import Detector, recess_plane, recess_points
from monai_spine.levels.sagittal.chain import Doubt, Flag, levels
from monai_spine.levels.sagittal.points import NO_SPINE, Absent, Key, LevelPoint, PointKind, SpinePoints
from monai_spine.spine import Level, SeriesType, Side

_SAME_DISC_MM = 12.0
"""Canal points of two volumes that are closer than this mark the same disc."""
_SAME_DISCS = 4
"""Discs of one name at one place in two volumes from which on they show the same spine. Turned upside down, at most the
one in the middle would stay where it was."""
_SERIES_DIFFER_MM = 6.0
"""Distance of one point in two volumes, in the sagittal plane, from which on it is flagged: twice the mean error."""
_READ_ON = {PointKind.CANAL: SeriesType.SAGITTAL_T2, PointKind.FORAMEN: SeriesType.SAGITTAL_T1}
"""The series type on which annotators read the findings of each point."""


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
    doubts: tuple[Doubt, ...] = ()
    """Why the levels are uncertain."""

    @property
    def refused(self) -> dict[str, str]:
        """The volumes that could not be used, by their names, and why."""
        return {
            name: status
            for name, status in self.volumes.items()
            if status != "found" and not status.startswith(NO_SPINE)
        }

    @property
    def found(self) -> bool:
        """Whether any point was found."""
        return bool(self.points)


def axial_grids(paths: Mapping[str, Path], opened: Opener = open_volume) -> dict[str, Grid]:
    """Positions of axial stacks, by the names of their files, which ``opened`` opens."""
    return {name: Grid(*slice_geometry(opened(path))) for name, path in paths.items()}


def unite(  # noqa: PLR0917 - what was found, what was not, where the axial slices lie
    study: str,
    answers: Mapping[str, SpinePoints],
    refused: Mapping[str, str],
    axial: Mapping[str, Grid],
    detect: Detector,
    types: Mapping[str, SeriesType] | None = None,
) -> LocatedStudy:
    """One answer from the answers of a study's sagittal volumes.

    ``refused``: the reason why a volume could not be used, by its name.
    ``detect``: detects the recesses in an axial plane.
    ``types``: series types of volumes, by their names.
    """
    spines = {name: points for name, points in answers.items() if points.chain is not None}
    volumes = {name: "found" if name in spines else points.reason for name, points in answers.items()} | dict(refused)
    if not spines:
        return LocatedStudy(study, (), (), volumes, {})
    surest = max(spines, key=lambda name: trust(spines[name]))
    leader = spines[surest]
    others = {name: points for name, points in spines.items() if name != surest}
    points = _by_series({surest: leader, **_counting_alike(leader, others)}, types or {})
    doubts = list(leader.chain.doubts) if leader.chain else []
    # Two series that count differently cannot both be right, and nothing shows which one is.
    if any(_contradict(leader, other) for other in others.values()):
        doubts.append(Doubt.SERIES)
        points = {key: _uncertain(point) for key, point in points.items()}
    # Recesses come from the leader alone, so that all levels are counted in one way.
    recesses, absent, planes = _recesses(leader, axial, detect, uncertain=bool(doubts))
    absent = [one for one in (*leader.absent, *absent) if (one.kind, one.level, one.side) not in points]
    ordered = sorted((*points.values(), *recesses), key=point_order)
    return LocatedStudy(study, tuple(ordered), tuple(absent), volumes, planes, tuple(doubts))


def trust(points: SpinePoints) -> tuple[bool, float]:
    """Rank of a volume: certain levels come before uncertain ones, then the sum of the canal's confidences decides."""
    canal = [point.confidence for point in points.points if point.kind is PointKind.CANAL]
    return points.chain is not None and points.chain.certain, float(np.sum(canal))


def keyed_points(points: SpinePoints) -> dict[Key, LevelPoint]:
    """The points of a volume by what identifies them in a study."""
    return {(point.kind, point.level, point.side): point for point in points.points}


def _by_series(spines: Mapping[str, SpinePoints], types: Mapping[str, SeriesType]) -> dict[Key, LevelPoint]:
    """For each place the point of the series type that it is read on, or else of the first volume; flagged if others
    are far from it.

    ``spines``: volumes that count alike; the first names the levels, so its flag of uncertain levels holds for all.
    """
    keyed = {name: keyed_points(points) for name, points in spines.items()}
    first = next(iter(spines.values()))
    uncertain = first.chain is not None and not first.chain.certain
    points = {}
    for key in {key: None for one in keyed.values() for key in one}:
        candidates = {name: one[key] for name, one in keyed.items() if key in one}
        # An interpolated point is no evidence, whatever its series; then the type decides; then the surest volume.
        best = min(
            candidates,
            key=lambda name: (
                Flag.INTERPOLATED.value in candidates[name].flags,
                types.get(name) is not _READ_ON[key[0]],
            ),
        )
        flags = [flag for flag in candidates[best].flags if flag != Flag.UNCERTAIN_LEVEL.value]
        seen = [one for one in candidates.values() if Flag.INTERPOLATED.value not in one.flags]
        apart = max((float(np.linalg.norm((one.world - candidates[best].world)[1:])) for one in seen), default=0.0)
        flags += [Flag.SERIES_DIFFER.value] * (apart > _SERIES_DIFFER_MM)
        flags = [Flag.UNCERTAIN_LEVEL.value] * uncertain + flags
        points[key] = replace(candidates[best], flags=tuple(flags))
    return points


def _counting_alike(leader: SpinePoints, others: Mapping[str, SpinePoints]) -> dict[str, SpinePoints]:
    """The volumes whose names of discs are those of the leader; others would bring in points of other levels."""
    return {name: other for name, other in others.items() if not names_otherwise(leader, other)}


def _contradict(leader: SpinePoints, other: SpinePoints) -> bool:
    """Whether two volumes count differently, and both from a sacrum."""
    counted = all(points.chain is not None and points.chain.anchored for points in (leader, other))
    return counted and names_otherwise(leader, other)


def names_otherwise(leader: SpinePoints, other: SpinePoints) -> bool:
    """Whether a disc that both volumes show has two names."""
    for key, point in keyed_points(leader).items():
        for other_key, candidate in keyed_points(other).items():
            both_canal = key[0] is other_key[0] is PointKind.CANAL
            if (
                both_canal
                and key[1] is not other_key[1]
                and np.linalg.norm(point.world - candidate.world) <= _SAME_DISC_MM
            ):
                return True
    return False


def shows_the_same(one: SpinePoints, other: SpinePoints) -> bool:
    """Whether two volumes show most of their discs at the same places, and under the same names."""
    places, others = ({key: at.world for key, at in keyed_points(each).items()} for each in (one, other))
    canals = [key for key in places.keys() & others if key[0] is PointKind.CANAL]
    near = sum(bool(np.linalg.norm(places[key] - others[key]) <= _SAME_DISC_MM) for key in canals)
    return near >= _SAME_DISCS


def _uncertain(point: LevelPoint) -> LevelPoint:
    flag = Flag.UNCERTAIN_LEVEL.value
    return point if flag in point.flags else replace(point, flags=(flag, *point.flags))


def _recesses(
    spine: SpinePoints, axial: Mapping[str, Grid], detect: Detector, *, uncertain: bool
) -> tuple[list[LevelPoint], list[Absent], dict[Level, tuple[str, int, float]]]:
    """Both recesses of each level on the axial plane nearest to them; absent where no plane is near."""
    points: list[LevelPoint] = []
    absent: list[Absent] = []
    planes: dict[Level, tuple[str, int, float]] = {}
    level_flags = (Flag.UNCERTAIN_LEVEL.value,) if uncertain else ()
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


def point_order(point: LevelPoint) -> tuple[int, int, int]:
    """Sort key: canal, foramina, recesses; then from above; then left before right."""
    side = 0 if point.side is None else 1 + list(Side).index(point.side)
    return list(PointKind).index(point.kind), list(Level).index(point.level), side
