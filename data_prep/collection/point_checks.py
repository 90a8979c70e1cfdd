"""Points of one study that contradict each other: sides swapped, levels out of order, a point off its level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from data_prep.collection.faults import FaultKind
from monai_spine.geometry import Array
from monai_spine.spine import Condition, Finding, Level, Side

Points = Mapping[Finding, Array]
"""RAS mm."""
Oddity = tuple[Finding, FaultKind, str]


def odd_points(points: Points) -> list[Oddity]:
    """Each point that contradicts the others, with the kind of fault and the millimetres."""
    beyond = off_level(points)
    strayed = [
        (finding, FaultKind.OFF_LEVEL, f"{abs(mm):.0f} mm {'above' if mm > 0 else 'below'} the level's others")
        for finding, mm in beyond.items()
    ]
    return [*_swapped(points), *_out_of_order(points), *strayed]


def _swapped(points: Points) -> Iterator[Oddity]:
    """Left points that lie to the patient's right of their counterpart (RAS x grows to the right)."""
    for finding, left in points.items():
        right = points.get(finding.flipped)
        if finding.condition.side is Side.LEFT and right is not None and left[0] >= right[0]:
            yield finding, FaultKind.SIDES_SWAPPED, f"left x {left[0]:.1f} mm, right x {right[0]:.1f} mm"


def _out_of_order(points: Points) -> Iterator[Oddity]:
    """Points of one condition that do not lie below those of the level above."""
    for condition in Condition:
        column = [finding for level in Level if (finding := Finding(condition, level)) in points]
        for upper, lower in pairwise(column):
            if points[lower][2] >= points[upper][2]:
                yield lower, FaultKind.LEVELS_OUT_OF_ORDER, f"not below {upper.level.title}"


OFF_LEVEL_SHARE = 0.5
"""A point is off its level when it is farther from the others than this share of the distance between levels."""


def off_level(points: Mapping[Finding, Array]) -> dict[Finding, float]:
    """Points that lie far above (positive mm) or below the other conditions' points of their level.

    Heights are taken along the world's superior axis. The limit is half the study's own distance between levels. A
    point is judged by two others of its level at least.
    """
    heights = {level: {f: float(p[2]) for f, p in points.items() if f.level is level} for level in Level}
    middles = [float(np.median(list(found.values()))) if found else np.nan for found in heights.values()]
    steps = [upper - lower for upper, lower in pairwise(middles) if upper > lower]
    if not steps:
        return {}
    limit = OFF_LEVEL_SHARE * float(np.median(steps))
    found = {}
    for of_level in heights.values():
        for finding, height in of_level.items():
            others = [other for one, other in of_level.items() if one.condition is not finding.condition]
            beyond = height - float(np.median(others)) if len(others) > 1 else 0.0
            if abs(beyond) > limit:
                found[finding] = beyond
    return found
