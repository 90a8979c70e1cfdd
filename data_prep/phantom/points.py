"""Where the annotators' points lie: a finding's anatomy, projected onto the nearest slice of its series type."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data_prep.phantom import canal
from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.plan import Series, Stack
from data_prep.phantom.quirks import Quirk
from monai_spine.geometry import Array, plane_distance, to_voxel, to_world
from monai_spine.spine import FINDINGS, MISSING, Condition, Finding, Group, Level

COVERED = 3.0
"""A stack shows a point if one of its slices passes within this many mm."""


@dataclass(frozen=True)
class Point:
    """Where a finding was marked: on a slice of a series, in pixels and in patient space (RAS mm).

    ``finding`` is what is drawn there; ``named`` is what the annotator called it, the same but for a quirk.
    """

    finding: Finding
    named: Finding
    series: str
    instance: int
    x: float
    y: float
    world: Array


def position(person: Anatomy, finding: Finding) -> Array:
    """RAS mm of the middle of a finding's anatomy."""
    side, level = finding.condition.side, finding.level
    if side is None:
        return person.curve.to_world(canal.canal_point(person, level))
    place = canal.foramen_point if finding.condition.group is Group.FORAMINAL else canal.recess_point
    return person.curve.to_world(place(person, level, side))


def mark(
    person: Anatomy, labels: Array, series: tuple[Series, ...], quirks: frozenset[Quirk], rng: np.random.Generator
) -> tuple[Point, ...]:
    """A point for every label whose series is there; quirks lose, add, rename or move some."""
    points = []
    for finding, label in zip(FINDINGS, labels, strict=True):
        if label != MISSING or Quirk.POINT_WITHOUT_LABEL in quirks:
            point = _mark(person, finding, series, rng)
            points += [point] if point is not None else []
    return tuple(_disturbed(points, quirks, rng))


def _mark(person: Anatomy, finding: Finding, series: tuple[Series, ...], rng: np.random.Generator) -> Point | None:
    """The point on any stack that shows it, or else on the nearest one; None if there is no such series."""
    place = position(person, finding)
    wanted = finding.condition.series_type
    stacks = [(_distance(stack, place), one.id, stack) for one in series if one.kind is wanted for stack in one.stacks]
    if not stacks:
        return None
    showing = [entry for entry in stacks if entry[0] <= COVERED]
    _, name, stack = showing[int(rng.integers(len(showing)))] if showing else min(stacks, key=lambda entry: entry[0])
    scan = stack.scan
    voxel = to_voxel(scan.affine, place + scan.motion)
    k = int(np.clip(np.rint(voxel[2]), 0, scan.size[2] - 1))
    x, y = (round(float(value), 4) for value in voxel[:2])
    return Point(finding, finding, name, stack.instances[k], x, y, to_world(scan.affine, [x, y, k]))


def _distance(stack: Stack, place: Array) -> float:
    return float(plane_distance(stack.scan.affine, stack.scan.size, place + stack.scan.motion))


def _disturbed(points: list[Point], quirks: frozenset[Quirk], rng: np.random.Generator) -> list[Point]:
    """What goes wrong when points are recorded."""
    if Quirk.LABEL_WITHOUT_POINT in quirks and len(points) > 3:
        lost = set(rng.choice(len(points), 3, replace=False).tolist())
        points = [point for i, point in enumerate(points) if i not in lost]
    if Quirk.LEVEL_OFF_BY_ONE in quirks:
        points = _one_level_up(points, list(Condition)[int(rng.integers(len(Condition)))])
    if Quirk.SIDES_SWAPPED in quirks:
        points = _sides_swapped(points, rng)
    if Quirk.POINT_ELSEWHERE in quirks and points:
        i = int(rng.integers(len(points)))
        points[i] = replace(points[i], x=points[i].x / 3 + 5.0, y=points[i].y / 3 + 5.0)
    return points


def _one_level_up(points: list[Point], condition: Condition) -> list[Point]:
    """Name the points of a condition after the level above; the uppermost is lost."""
    levels = list(Level)
    renamed = []
    for point in points:
        if point.finding.condition is not condition:
            renamed.append(point)
        elif point.finding.level is not levels[0]:
            above = levels[levels.index(point.finding.level) - 1]
            renamed.append(replace(point, named=Finding(condition, above)))
    return renamed


def _sides_swapped(points: list[Point], rng: np.random.Generator) -> list[Point]:
    """Exchange the names of the left and right point of one level."""
    sided = [point.named for point in points if point.named.condition.side is not None]
    if not sided:
        return points
    swapped = sided[int(rng.integers(len(sided)))]
    names = {swapped, swapped.flipped}
    return [replace(point, named=point.named.flipped) if point.named in names else point for point in points]
