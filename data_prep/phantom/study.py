"""One study of a cohort: person, disease, labels, the series to acquire, and the annotators' points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from data_prep.choices import PhantomSize
from data_prep.phantom.disease import Disease, draw_disease
from data_prep.phantom.labels import posterior, read
from data_prep.phantom.person import Anatomy, draw_person
from data_prep.phantom.plan import Series, Stack, plan_series, scattered_id, with_artefacts
from data_prep.phantom.quirks import NONE, Quirk, draw_variants
from monai_spine.geometry import Array, plane_distance, to_voxel, to_world
from monai_spine.spine import FINDINGS, MISSING, Condition, Finding, Group, Level


class Stream(IntEnum):
    """What random numbers are for. Each use has its own stream, so that one use does not change another."""

    DISEASE = 0
    READER = 1
    ANATOMY = 2
    PLAN = 3
    NOISE = 4
    QUIRKS = 5
    POINTS = 6
    VARIANTS = 7
    ARTEFACTS = 8
    ENCODING = 9


MANUFACTURERS = ("Phantom A", "Phantom B", "Phantom C")
UPPERMOST_AXIAL = {Level.L1_L2: 0.917, Level.L2_L3: 0.042, Level.L3_L4: 0.041}
"""Shares of studies by the uppermost disc of the axial block. Above it, subarticular labels are missing."""
UNLABELLED = 0.0005
"""Share of other labels that nobody recorded."""
VISIBLE = 3.0
"""A stack shows a point if one of its slices passes within this many mm."""


@dataclass(frozen=True)
class Findings:
    """Disease and labels of a study."""

    disease: Disease
    posterior: Array
    """Probability of each label, ``(25, 3)``, in the order of ``FINDINGS``."""
    labels: Array
    """Recorded labels, ``(25,)``: 0, 1, 2 or ``MISSING``."""
    top: Level
    """The uppermost disc of the axial series."""


@dataclass(frozen=True)
class Point:
    """Where a finding was marked: on a slice of a series, in pixels and in patient space (RAS mm).

    ``finding`` is what the image shows there; ``named`` is what the annotator called it: the same but for a quirk.
    """

    finding: Finding
    named: Finding
    series: str
    instance: int
    x: float
    y: float
    world: Array


@dataclass(frozen=True)
class Study:
    """A study ready to be acquired."""

    id: str
    seed: int
    index: int
    findings: Findings
    anatomy: Anatomy
    series: tuple[Series, ...]
    points: tuple[Point, ...]
    manufacturer: str
    quirks: frozenset[Quirk]
    details: dict[Quirk, str]
    """The column ``detail`` of `quirks.csv`, for some of its quirks."""


def stream(seed: int, index: int, use: Stream) -> np.random.Generator:
    """The random numbers of one use in one study; they do not depend on other draws."""
    return np.random.default_rng([seed, index, use])


def study_id(seed: int, index: int) -> str:
    """An id that is different for every study of a seed."""
    return scattered_id(4003253 + seed * 7919, index)


def draw_findings(seed: int, index: int, uncorrelated: float = 0.0) -> Findings:
    """Disease and labels of a study, without its anatomy: this is fast. ``uncorrelated``: see `draw_disease`."""
    disease = draw_disease(stream(seed, index, Stream.DISEASE), uncorrelated)
    rng = stream(seed, index, Stream.READER)
    labels = read(disease.severity, rng)
    top = list(UPPERMOST_AXIAL)[int(rng.choice(len(UPPERMOST_AXIAL), p=list(UPPERMOST_AXIAL.values())))]
    labels[rng.random(len(FINDINGS)) < UNLABELLED] = MISSING
    levels = list(Level)
    for i, finding in enumerate(FINDINGS):
        if finding.condition.group is Group.SUBARTICULAR and levels.index(finding.level) < levels.index(top):
            labels[i] = MISSING
    return Findings(disease, posterior(disease.severity), labels, top)


def draw_study(
    seed: int, index: int, size: PhantomSize, quirks: frozenset[Quirk] = NONE, uncorrelated: float = 0.0
) -> Study:
    """A study with everything but its images. ``uncorrelated``: see `draw_disease`."""
    findings = draw_findings(seed, index, uncorrelated)
    variants = draw_variants(quirks, stream(seed, index, Stream.VARIANTS))
    rng = stream(seed, index, Stream.ANATOMY)
    person = draw_person(findings.disease, rng, rng.normal(0.0, [8.0, 15.0, 25.0]), variants)
    manufacturer = MANUFACTURERS[int(rng.integers(len(MANUFACTURERS)))]
    series = plan_series((seed, index), person, findings.top, size, quirks, stream(seed, index, Stream.PLAN))
    series, artefacts = with_artefacts(series, quirks, stream(seed, index, Stream.ARTEFACTS))
    points = _points(person, findings.labels, series, quirks, stream(seed, index, Stream.POINTS))
    details = {**variants.describe(), **artefacts}
    return Study(study_id(seed, index), seed, index, findings, person, series, points, manufacturer, quirks, details)


def _points(
    person: Anatomy, labels: Array, series: tuple[Series, ...], quirks: frozenset[Quirk], rng: np.random.Generator
) -> tuple[Point, ...]:
    """A point for every label whose series exists; quirks lose, add, rename or move some."""
    points = []
    for finding, label in zip(FINDINGS, labels, strict=True):
        if label != MISSING or Quirk.POINT_WITHOUT_LABEL in quirks:
            point = _point(person, finding, series, rng)
            points += [point] if point is not None else []
    return tuple(_disturbed(points, quirks, rng))


def _point(person: Anatomy, finding: Finding, series: tuple[Series, ...], rng: np.random.Generator) -> Point | None:
    """The point on any stack that shows it, or else on the nearest one; None without a series of its type."""
    place = person.position(finding)
    series_type = finding.condition.series_type
    stacks = [
        (_distance(stack, place), one.id, stack)
        for one in series
        if one.series_type is series_type
        for stack in one.stacks
    ]
    if not stacks:
        return None
    showing = [entry for entry in stacks if entry[0] <= VISIBLE]
    _, name, stack = showing[int(rng.integers(len(showing)))] if showing else min(stacks, key=lambda entry: entry[0])
    scan = stack.scan
    voxel = to_voxel(scan.affine, place + scan.motion)
    k = int(np.clip(np.rint(voxel[2]), 0, scan.size[2] - 1))
    x, y = (round(float(value), 4) for value in voxel[:2])
    return Point(finding, finding, name, stack.instances[k], x, y, to_world(scan.affine, [x, y, k]))


def _distance(stack: Stack, place: Array) -> float:
    return float(plane_distance(stack.scan.affine, stack.scan.size, place + stack.scan.motion))


def _disturbed(points: list[Point], quirks: frozenset[Quirk], rng: np.random.Generator) -> list[Point]:
    """The points with the mistakes that belong to quirks."""
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
    """Name the points of a condition after the level above; the uppermost point is lost."""
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
