"""What a person corrected in a graded study, by whom, when, and what was there before.

It is a list of changes, of which none is ever deleted: a change that was undone stays, with the person who undid it.
Points and grades follow from the changes (`Corrections.state`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from enum import Enum
from functools import cached_property
from typing import Any

from monai_spine.errors import InvalidOptionError
from monai_spine.spine import FINDINGS, TARGETS, Condition, Finding, Grade, Level

Point = tuple[float, float, float]

INITIALS = re.compile(r"[^\W_]{1,8}")
_BY_NAME = dict(zip(TARGETS, FINDINGS, strict=True))
_GRADES = tuple(grade.column for grade in Grade)
_FARTHEST_MM = 100_000.0
_SAME_MM = 0.01


class What(str, Enum):
    """What a change is about."""

    POINT = "point"
    """A point was moved or placed: ``before`` is RAS mm or null, ``after`` RAS mm."""
    LEVELS = "levels"
    """All levels were named one further ``up`` or ``down`` (``after``); ``before``: the points without a name now."""
    GRADE = "grade"
    """``after`` is the person's grade of a finding; null takes it back."""
    DONE = "done"
    """The study was marked as done (``after`` is true), or not any more."""


class Direction(str, Enum):
    """Where the names of all levels move: ``up`` makes L4/L5 of L5/S1."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Signature:
    """Who did something, by initials, and when: UTC as ``2026-11-28T13:40:12Z``."""

    by: str
    at: str

    @classmethod
    def now(cls, by: str) -> Signature:
        """A person's signature of this second.

        Raises
        ------
        InvalidOptionError
            If ``by`` is not one to eight letters or digits.
        """
        if not INITIALS.fullmatch(by):
            raise InvalidOptionError(f"expected initials of one to eight letters or digits, but found {by[:20]!r}")
        return cls(by, datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))


@dataclass(frozen=True)
class Place:
    """A point of a finding, RAS mm; ``by_person``: a person moved, placed or named it."""

    position: Point
    confidence: float | None = None
    flags: tuple[str, ...] = ()
    by_person: bool = False


@dataclass(frozen=True)
class Change:
    """One thing that a person did; see `What` for ``before`` and ``after``. ``finding`` is None for levels and done."""

    what: What
    signature: Signature
    finding: str | None = None
    before: Any = None
    after: Any = None
    undone: Signature | None = None


@dataclass(frozen=True)
class State:
    """A study as it is after all changes."""

    points: Mapping[str, Place]
    """By the findings' names, with the points of the program that nobody touched."""
    grades: Mapping[str, str]
    """The person's, by the findings' names; columns of `Grade`."""
    graded_by: Mapping[str, Signature]
    """Who gave each of these grades."""
    done: Signature | None
    """Who marked the study as done; None if it is not."""

    @property
    def has_all_levels(self) -> bool:
        """Whether the canal has a point at each level."""
        return all(Finding(Condition.SPINAL_CANAL_STENOSIS, level).name in self.points for level in Level)


@dataclass(frozen=True)
class VolumePlace:
    """Where a volume that the person saw lies: its shape, and its affine ``(4, 4)`` to RAS mm, both as stored."""

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Corrections:
    """The corrections of a study."""

    study_id: str
    points: Mapping[str, Place] = field(default_factory=dict)
    grades: Mapping[str, str] = field(default_factory=dict)
    """``points``, ``grades``: those of the program before the first change, by the findings' names."""
    volumes: Mapping[str, VolumePlace] = field(default_factory=dict)
    """The volumes that the person saw, by their names, so that points never reach images of another patient space."""
    changes: tuple[Change, ...] = ()
    """In the order in which they were made."""

    @property
    def version(self) -> int:
        """Grows with every change and every undo, so that two windows notice each other."""
        return len(self.changes) + sum(change.undone is not None for change in self.changes)

    @cached_property
    def state(self) -> State:
        """The study after all changes that were not undone."""
        points, grades, graded_by, done = dict(self.points), dict[str, str](), dict[str, Signature](), None
        for change in self.changes:
            if change.undone is not None:
                continue
            if change.what is What.POINT:
                points[str(change.finding)] = Place(change.after, by_person=True)
            elif change.what is What.LEVELS:
                direction = Direction(change.after)
                points = {
                    name: Place(place.position, by_person=True) for name, place in _renamed(points, direction).items()
                }
                # A person's grade belongs to the place in the image, so it moves with the name.
                grades, graded_by = _renamed(grades, direction), _renamed(graded_by, direction)
            elif change.what is What.GRADE:
                grades.pop(str(change.finding), None)
                if change.after is not None:
                    grades[str(change.finding)], graded_by[str(change.finding)] = change.after, change.signature
            else:
                done = change.signature if change.after else None
        return State(points, grades, graded_by, done)

    @property
    def people(self) -> tuple[str, ...]:
        """The initials of all who made a change that stands, sorted."""
        return tuple(sorted({change.signature.by for change in self.changes if change.undone is None}))

    def differ_from(self, used: Mapping[str, Any]) -> bool:
        """Whether findings were made with other points (RAS mm or None, by their names) than those after all changes.

        Points that differ by less than 0.01 mm are the same: files round them. Without any point, findings that were
        made with some are of points that were taken back.
        """
        if not self.state.points:
            return any(point is not None for point in used.values())
        for name, place in self.state.points.items():
            point = used.get(name)
            if point is None or max(abs(a - b) for a, b in zip(point, place.position, strict=True)) > _SAME_MM:
                return True
        return False

    def has_other_levels(self, used: Mapping[str, Any]) -> bool:
        """Whether the reader renamed the levels, and findings, whose points are ``used``, have the names before."""
        renamed = any(change.what is What.LEVELS and change.undone is None for change in self.changes)
        return renamed and self.differ_from(used)

    def moved(self, finding: str, after: Sequence[float], signature: Signature) -> Corrections:
        """With a point moved, or placed where there was none; RAS mm.

        Raises `InvalidOptionError` if there is no such finding, or it is not a point.
        """
        before = self.state.points.get(known_finding(finding))
        point = checked_point(after)
        change = Change(What.POINT, signature, finding, before.position if before else None, point)
        return replace(self, changes=(*self.changes, change))

    def renamed(self, direction: Direction, signature: Signature) -> Corrections:
        """With all levels named one further up or down. The outermost points lose their names.

        Raises `InvalidOptionError` if no point would be left.
        """
        points = self.state.points
        if not (stay := _renamed(points, direction)):
            raise InvalidOptionError(f"expected points whose names can move {direction.value}, but none would be left")
        edge = (Level.L1_L2, Level.L5_S1)[direction is Direction.DOWN]
        lost = {name: place.position for name, place in points.items() if _BY_NAME[name].level is edge}
        assert len(stay) + len(lost) == len(points)
        change = Change(What.LEVELS, signature, None, lost, direction.value)
        return replace(self, changes=(*self.changes, change))

    def graded(self, finding: str, grade: str | None, signature: Signature) -> Corrections:
        """With a person's grade of a finding, a column of `Grade`; None takes it back.

        Raises `InvalidOptionError` if there is no such finding or grade.
        """
        if grade is not None and grade not in _GRADES:
            raise InvalidOptionError(f"expected a grade out of {', '.join(_GRADES)}, but found {str(grade)[:40]!r}")
        before = self.state.grades.get(known_finding(finding), self.grades.get(finding))
        change = Change(What.GRADE, signature, finding, before, grade)
        return replace(self, changes=(*self.changes, change))

    def marked_done(self, done: bool, signature: Signature) -> Corrections:
        """Marked as done, or not any more."""
        change = Change(What.DONE, signature, None, self.state.done is not None, done)
        return replace(self, changes=(*self.changes, change))

    def undone(self, signature: Signature) -> Corrections:
        """Without the last change that stands; it stays in the list, with the person who undid it.

        Raises `InvalidOptionError` if there is none.
        """
        last = next((n for n in reversed(range(len(self.changes))) if self.changes[n].undone is None), None)
        if last is None:
            raise InvalidOptionError("there is no change to undo")
        changes = list(self.changes)
        changes[last] = replace(changes[last], undone=signature)
        return replace(self, changes=tuple(changes))


def _renamed(values: Mapping[str, Any], direction: Direction) -> dict[str, Any]:
    """The values of findings under the names one level further up or down; those without such a level are left out."""
    levels, step = list(Level), 1 if direction is Direction.DOWN else -1
    renamed = {}
    for name, value in values.items():
        finding = _BY_NAME[name]
        n = levels.index(finding.level) + step
        if 0 <= n < len(levels):
            renamed[Finding(finding.condition, levels[n]).name] = value
    return renamed


def known_finding(finding: Any) -> str:
    """A finding's name. Raises `InvalidOptionError` if it is none."""
    if not isinstance(finding, str) or finding not in _BY_NAME:
        raise InvalidOptionError(f"expected one of the 25 findings, such as {TARGETS[0]}, but found {finding!r:.60}")
    return finding


def checked_point(value: Any) -> Point:
    """A point in RAS mm. Raises `InvalidOptionError` if it is none."""
    numbers = isinstance(value, list | tuple) and len(value) == 3
    if not numbers or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
        raise InvalidOptionError("expected a point as three numbers in RAS mm")
    x, y, z = (round(float(one), 3) for one in value)
    if not all(math.isfinite(one) and abs(one) <= _FARTHEST_MM for one in (x, y, z)):
        raise InvalidOptionError(f"expected a point within {_FARTHEST_MM:g} mm, but found another one")
    return x, y, z
