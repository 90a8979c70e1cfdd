"""Merges the points of a study's volumes, and flags all levels as uncertain if two volumes name a disc differently.

The surest sagittal volume names the levels. Each finding then takes the point of the series type that it is read on:
the canal from T2, the foramina from T1, and the recesses are put on the nearest axial planes. It follows
the localizers (`search`) and comes before the files (`files`, `located_records`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from monai_spine.data.coverage import Grid
from monai_spine.levels.recesses.planes import Detector, recesses_of
from monai_spine.levels.sagittal.chain import levels
from monai_spine.levels.sagittal.doubts import Doubt, Flag
from monai_spine.levels.sagittal.points import NO_SPINE, Absent, Key, LevelPoint, SpinePoints, Structure
from monai_spine.spine import Level, SeriesType, Side

_SAME_DISC_MM = 12.0
"""Canal points of two volumes that are closer than this mark the same disc."""
_SAME_DISCS = 4
"""Discs of one name at one place in two volumes from which on they show the same spine. Turned upside down, at most the
one in the middle would stay where it was."""
_SERIES_DIFFER_MM = 6.0
"""Distance of one point in two volumes, in the sagittal plane, from which on it is flagged: twice the mean error."""
_READ_ON = {Structure.CANAL: SeriesType.SAGITTAL_T2, Structure.FORAMEN: SeriesType.SAGITTAL_T1}
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
    def without_spine(self) -> tuple[str, ...]:
        """The names of the volumes that could be read, and show no lumbar spine, or one that is upside down."""
        return tuple(name for name, status in self.volumes.items() if status.startswith(NO_SPINE))

    @property
    def has_points(self) -> bool:
        """Whether any point was found."""
        return bool(self.points)


def merge_volumes(  # noqa: PLR0917
    study: str,
    answers: Mapping[str, SpinePoints],
    refused: Mapping[str, str],
    axial: Mapping[str, Grid],
    detect: Detector,
    types: Mapping[str, SeriesType] | None = None,
) -> LocatedStudy:
    """The points of a study from those of its sagittal volumes.

    ``refused``: the reason why a volume could not be used, by its name.
    ``detect``: detects the recesses in an axial plane.
    ``types``: series types of volumes, by their names.
    """
    spines = {name: points for name, points in answers.items() if points.chain is not None}
    volumes = {name: "found" if name in spines else points.reason for name, points in answers.items()} | dict(refused)
    if not spines:
        return LocatedStudy(study, (), (), volumes, {})
    surest = max(spines, key=lambda name: certainty(spines[name]))
    leader = spines[surest]
    others = {name: points for name, points in spines.items() if name != surest}
    points = _by_series({surest: leader, **_counting_alike(leader, others)}, types or {})
    doubts = list(leader.chain.doubts) if leader.chain else []
    # Two series that count differently cannot both be right, and nothing shows which one is.
    if any(_contradict(leader, other) for other in others.values()):
        doubts.append(Doubt.SERIES)
        points = {key: _uncertain(point) for key, point in points.items()}
    # Recesses come from the leader alone, so that all levels are counted in one way.
    discs = levels(leader.chain) if leader.chain else ()
    recesses = recesses_of(discs, axial, detect, (Flag.UNCERTAIN_LEVEL.value,) if doubts else ())
    absent = tuple(one for one in (*leader.absent, *recesses.absent) if one.key not in points)
    ordered = tuple(sorted((*points.values(), *recesses.points), key=point_order))
    return LocatedStudy(study, ordered, absent, volumes, recesses.planes, tuple(doubts))


def certainty(points: SpinePoints) -> tuple[bool, float]:
    """Rank of a volume: certain levels come before uncertain ones, then the sum of the canal's confidences decides."""
    canal = [point.confidence for point in points.points if point.structure is Structure.CANAL]
    return points.chain is not None and points.chain.certain, float(np.sum(canal))


def _by_series(spines: Mapping[str, SpinePoints], types: Mapping[str, SeriesType]) -> dict[Key, LevelPoint]:
    """For each place the point of the series type that it is read on, or else of the first volume; flagged if others
    are far from it.

    ``spines``: volumes that count alike; the first names the levels, so its flag of uncertain levels holds for all.
    """
    keyed = {name: points.by_key for name, points in spines.items()}
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
                types.get(name) is not _READ_ON[key.structure],
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
    return {name: other for name, other in others.items() if not names_differ(leader, other)}


def _contradict(leader: SpinePoints, other: SpinePoints) -> bool:
    """Whether two volumes count differently, and both from a sacrum."""
    counted = all(points.chain is not None and points.chain.anchored for points in (leader, other))
    return counted and names_differ(leader, other)


def names_differ(leader: SpinePoints, other: SpinePoints) -> bool:
    """Whether a disc that both volumes show has two names."""
    first, second = (
        [point for point in volume.points if point.structure is Structure.CANAL] for volume in (leader, other)
    )
    return any(
        one.level is not another.level and np.linalg.norm(one.world - another.world) <= _SAME_DISC_MM
        for one in first
        for another in second
    )


def same_discs(one: SpinePoints, other: SpinePoints) -> bool:
    """Whether two volumes show most of their discs at the same places, and under the same names."""
    first, second = one.by_key, other.by_key
    both = [key for key in first.keys() & second if key.structure is Structure.CANAL]
    near = sum(bool(np.linalg.norm(first[key].world - second[key].world) <= _SAME_DISC_MM) for key in both)
    return near >= _SAME_DISCS


def _uncertain(point: LevelPoint) -> LevelPoint:
    flag = Flag.UNCERTAIN_LEVEL.value
    return point if flag in point.flags else replace(point, flags=(flag, *point.flags))


def point_order(point: LevelPoint) -> tuple[int, int, int]:
    """Sort key: canal, foramina, recesses; then from above; then left before right."""
    side = 0 if point.side is None else 1 + list(Side).index(point.side)
    return list(Structure).index(point.structure), list(Level).index(point.level), side
