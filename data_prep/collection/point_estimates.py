"""Where a finding without a point probably lies, from the other points of the study.

Only coverage is judged by it: whether a stack reaches a level that nobody marked. No estimate enters the datalist.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, Condition, Finding, Group, Level

_LEVELS = list(Level)
Columns = Mapping[Condition, Mapping[int, Array]]
"""Points (RAS mm) of each condition by the index of their level."""


def estimated_points(points: Mapping[Finding, Array]) -> dict[Finding, Array]:
    """Positions (RAS mm) of the findings that have no point, as far as they can be told.

    A finding takes the place of the same level's points of other conditions, shifted as the two conditions differ at
    the nearest level where both are known; where no other condition knows the level, its own condition's nearest two
    levels are continued in a straight line, by one level at most. A canal of which no point is known lies midway
    between the recesses of its level, or else the foramina.
    """
    columns: dict[Condition, dict[int, Array]] = {condition: {} for condition in Condition}
    for finding, point in points.items():
        columns[finding.condition][_LEVELS.index(finding.level)] = np.asarray(point, dtype=np.float64)
    guesses = {finding: _estimate(columns, finding) for finding in FINDINGS if finding not in points}
    return {finding: guess for finding, guess in guesses.items() if guess is not None}


def _estimate(columns: Columns, finding: Finding) -> Array | None:
    level = _LEVELS.index(finding.level)
    own = columns[finding.condition]
    borrowed = [
        other[level] + shift
        for other in columns.values()
        if level in other and (shift := _shift(own, other, level)) is not None
    ]
    if borrowed:
        return np.mean(borrowed, axis=0)
    return _midway(columns, level) if finding.condition.side is None and not own else _continued(own, level)


def _shift(own: Mapping[int, Array], other: Mapping[int, Array], level: int) -> Array | None:
    """From another condition's points to this one's, at the nearest levels where both are known."""
    common = own.keys() & other.keys()
    if not common:
        return None
    nearest = min(abs(known - level) for known in common)
    shift: Array = np.mean([own[n] - other[n] for n in sorted(common) if abs(n - level) == nearest], axis=0)
    return shift


def _midway(columns: Columns, level: int) -> Array | None:
    """The middle between the points of both sides, the recesses' before the foramina's."""
    for group in (Group.SUBARTICULAR, Group.FORAMINAL):
        sides = [columns[condition] for condition in Condition if condition.group is group]
        if all(level in side for side in sides):
            return np.mean([side[level] for side in sides], axis=0)
    return None


def _continued(own: Mapping[int, Array], level: int) -> Array | None:
    """The line through the two nearest known levels, if the nearest is a neighbour."""
    nearest = sorted(own, key=lambda known: abs(known - level))[:2]
    if len(nearest) < 2 or abs(nearest[0] - level) > 1:
        return None
    first, second = nearest
    return own[first] + (own[first] - own[second]) * (level - first) / (first - second)
