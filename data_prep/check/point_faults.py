"""What is wrong with the points and labels of one study. A point has one fault at most: the first that is found."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from data_prep.check.codes import Code
from data_prep.check.entries import Point, Study
from data_prep.collection.points import neighbours, swapped_sides
from data_prep.faults import Fault
from monai_spine.geometry import Array, contains, to_voxel
from monai_spine.spine import FINDINGS, MISSING, Finding, Level, SeriesType

CLOSEST_MM, FARTHEST_MM = 15.0, 60.0
"""Between points of one condition at neighbouring levels: a disc and a vertebra of a small and of a tall adult."""
DISAGREEMENT_MM = 20.0
"""By which a point's height may differ from its level's other points: more than half the distance of two levels."""

Grid = tuple[Array, tuple[int, ...]]
"""Affine and shape of a volume."""
Blame = tuple[Code, str, tuple[Finding, ...]]


def faults_of_points(study: Study, grids: Mapping[SeriesType, Sequence[Grid]]) -> Iterator[Fault]:
    """Faults of a study's points. Whether a point lies outside is judged for the series types in ``grids`` alone."""
    free = dict(study.points)
    checks: list[Callable[[Mapping[Finding, Point]], Iterable[Blame]]] = [
        lambda points: _outside(points, grids),
        _swapped,
        _out_of_order,
        _disagreeing,
        _at_implausible_distances,
    ]
    for check in checks:
        blamed: dict[Code, list[Blame]] = {}
        for blame in check(free):
            blamed.setdefault(blame[0], []).append(blame)
        for code, blames in blamed.items():
            findings = {finding for _, _, concerned in blames for finding in concerned}
            yield study.fault(code, "; ".join(detail for _, detail, _ in blames), findings=findings)
            free = {finding: point for finding, point in free.items() if finding not in findings}


def faults_of_labels(study: Study) -> Iterator[Fault]:
    """Labels that are missing, labels without points and points without labels; none for a study without labels."""
    if study.label is None:
        return
    graded = {finding for finding, grade in zip(FINDINGS, study.label, strict=True) if grade != MISSING}
    groups = {
        Code.LABELS_MISSING: [finding for finding in FINDINGS if finding not in graded],
        Code.LABEL_WITHOUT_POINT: [f for f in FINDINGS if f in graded and f not in study.points],
        Code.POINT_WITHOUT_LABEL: [f for f in FINDINGS if f not in graded and f in study.points],
    }
    if not study.points:
        del groups[Code.LABEL_WITHOUT_POINT]
    for code, findings in groups.items():
        if findings:
            yield study.fault(code, f"{len(findings)} of {len(FINDINGS)}", findings=findings)


def _outside(points: Mapping[Finding, Point], grids: Mapping[SeriesType, Sequence[Grid]]) -> Iterator[Blame]:
    for finding, point in points.items():
        volumes = grids.get(finding.condition.series_type, ())
        if volumes and not any(contains(affine, shape, point) for affine, shape in volumes):
            far = min(_millimetres_outside(affine, shape, point) for affine, shape in volumes)
            yield Code.POINT_OUTSIDE, f"{named(finding)} {far:.0f} mm beyond the nearest volume", (finding,)


def _millimetres_outside(affine: Array, shape: tuple[int, ...], point: Point) -> float:
    """From a point to the nearest voxel centre of a volume with right angles."""
    voxel = to_voxel(affine, point)
    nearest = np.clip(voxel, 0, np.asarray(shape) - 1)
    return float(np.linalg.norm(affine[:3, :3] @ (voxel - nearest)))


def _swapped(points: Mapping[Finding, Point]) -> Iterator[Blame]:
    for left, right in swapped_sides(points):
        name = f"{left.condition.group.value} {left.level.title}"
        detail = f"{name}: left at x = {points[left][0]:.1f} mm, right at {points[right][0]:.1f} mm"
        yield Code.SIDES_SWAPPED, detail, (left, right)


def _out_of_order(points: Mapping[Finding, Point]) -> Iterator[Blame]:
    for upper, lower in neighbours(points):
        rise = points[lower][2] - points[upper][2]
        if rise >= 0:
            yield Code.LEVELS_OUT_OF_ORDER, f"{named(lower)} {rise:.0f} mm above {upper.level.title}", (upper, lower)


def _disagreeing(points: Mapping[Finding, Point]) -> Iterator[Blame]:
    """Points whose height differs from the median of their level's points, of which there must be three."""
    for level in Level:
        heights = {finding: point[2] for finding, point in points.items() if finding.level is level}
        if len(heights) < 3:
            continue
        middle = float(np.median(list(heights.values())))
        for finding, height in heights.items():
            if abs(height - middle) > DISAGREEMENT_MM:
                where = "above" if height > middle else "below"
                yield Code.LEVELS_DISAGREE, f"{named(finding)} {abs(height - middle):.0f} mm {where} others", (finding,)


def _at_implausible_distances(points: Mapping[Finding, Point]) -> Iterator[Blame]:
    for upper, lower, distance in _adjacent(points):
        if not CLOSEST_MM <= distance <= FARTHEST_MM:
            code = Code.LEVELS_TOO_CLOSE if distance < CLOSEST_MM else Code.LEVELS_TOO_FAR
            yield code, f"{named(lower)} {distance:.0f} mm from {upper.level.title}", (upper, lower)


def level_distances(study: Study) -> list[tuple[Level, float]]:
    """Millimetres between the canal points of neighbouring levels, each with the lower one."""
    return [(lower.level, mm) for _, lower, mm in _adjacent(study.points) if lower.condition.side is None]


def _adjacent(points: Mapping[Finding, Point]) -> Iterator[tuple[Finding, Finding, float]]:
    """Findings of one condition at neighbouring levels, the upper one first, and the mm between their points."""
    order = list(Level)
    for upper, lower in neighbours(points):
        if order.index(lower.level) - order.index(upper.level) == 1:
            yield upper, lower, float(np.linalg.norm(np.subtract(points[upper], points[lower])))


def named(finding: Finding) -> str:
    """For people: ``left foraminal L4/L5``."""
    side = f"{finding.condition.side.value} " if finding.condition.side else ""
    return f"{side}{finding.condition.group.value} {finding.level.title}"
