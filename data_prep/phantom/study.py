"""One study of a cohort: person, disease, labels, the series to acquire, and where its points lie."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from data_prep.phantom import anatomy as people
from data_prep.phantom import canal, disease, readers
from data_prep.phantom.acquisition import Scan, plan_axial, plan_sagittal
from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.disease import Disease
from data_prep.phantom.identity import series_id, study_id
from data_prep.phantom.size import Size
from monai_spine.geometry import Array, plane_distance, to_voxel
from monai_spine.spine import FINDINGS, MISSING, Finding, Group, Level, SeriesType


class Stream(IntEnum):
    """What random numbers are for. Each use has its own stream, so that one does not shift another."""

    DISEASE = 0
    READER = 1
    ANATOMY = 2
    PLAN = 3
    NOISE = 4
    QUIRKS = 5


MANUFACTURERS = ("Phantom A", "Phantom B", "Phantom C")
CRANIAL_START = {Level.L1_L2: 0.915, Level.L2_L3: 0.043, Level.L3_L4: 0.042}
"""Shares of studies by the highest disc that the axial block reaches: above it, subarticular labels are missing."""
UNLABELLED = 0.002
"""Share of other labels that nobody recorded."""


@dataclass(frozen=True)
class Findings:
    """What is known and recorded of a study, each of length 25 in the order of ``FINDINGS``."""

    disease: Disease
    posterior: Array
    labels: Array
    top: Level


@dataclass(frozen=True)
class Series:
    """A series: its id, the scan, and the instance number of each slice."""

    id: str
    scan: Scan
    instances: tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """Where a finding was marked: on a slice of a series, and in patient space (RAS mm)."""

    finding: Finding
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


def stream(seed: int, index: int, use: Stream) -> np.random.Generator:
    """The random numbers of one use in one study, whatever else is drawn."""
    return np.random.default_rng([seed, index, use])


def draw_findings(seed: int, index: int) -> Findings:
    """Disease and labels of a study, without its anatomy: fast."""
    illness = disease.draw(stream(seed, index, Stream.DISEASE))
    rng = stream(seed, index, Stream.READER)
    labels = readers.read(illness.severity, rng)
    top = Level(rng.choice(list(CRANIAL_START), p=list(CRANIAL_START.values())))
    labels[rng.random(len(FINDINGS)) < UNLABELLED] = MISSING
    for i, finding in enumerate(FINDINGS):
        if finding.condition.group is Group.SUBARTICULAR and _above(finding.level, top):
            labels[i] = MISSING
    return Findings(illness, readers.posterior(illness.severity), labels, top)


def _above(level: Level, top: Level) -> bool:
    return list(Level).index(level) < list(Level).index(top)


def draw(seed: int, index: int, size: Size) -> Study:
    """A study with all but its images."""
    findings = draw_findings(seed, index)
    rng = stream(seed, index, Stream.ANATOMY)
    person = people.draw(findings.disease, rng, rng.normal(0.0, [8.0, 15.0, 25.0]))
    series = _plan(seed, index, person, findings.top, size)
    points = _points(person, findings, series)
    manufacturer = MANUFACTURERS[int(rng.integers(len(MANUFACTURERS)))]
    return Study(study_id(seed, index), seed, index, findings, person, series, points, manufacturer)


def _plan(seed: int, index: int, person: Anatomy, top: Level, size: Size) -> tuple[Series, ...]:
    """One clean series of each type; sagittal slices may run either way, and so may axial ones."""
    rng = stream(seed, index, Stream.PLAN)
    field = float(rng.choice([1.5, 3.0]))
    scans = [
        plan_sagittal(person, SeriesType.SAGITTAL_T1, size, field, rng),
        plan_sagittal(person, SeriesType.SAGITTAL_T2, size, field, rng),
        plan_axial(person, top, size, field, rng),
    ]
    rising = (0.36, 0.36, 0.12)
    return tuple(
        Series(series_id(seed, index, n), scan, _numbers(scan.size[2], rng.random() < share))
        for n, (scan, share) in enumerate(zip(scans, rising, strict=True))
    )


def _numbers(count: int, rising: bool) -> tuple[int, ...]:
    """Instance numbers of slices in the order of the affine."""
    numbers = range(1, count + 1)
    return tuple(numbers) if rising else tuple(reversed(numbers))


def position(person: Anatomy, finding: Finding) -> Array:
    """RAS mm of the middle of a finding's anatomy."""
    side, level = finding.condition.side, finding.level
    if side is None:
        return person.curve.to_world(canal.canal_point(person, level))
    place = canal.foramen_point if finding.condition.group is Group.FORAMINAL else canal.recess_point
    return person.curve.to_world(place(person, level, side))


def _points(person: Anatomy, findings: Findings, series: tuple[Series, ...]) -> tuple[Point, ...]:
    """A point for every recorded label, on the slice of its series type that lies nearest."""
    points = []
    for finding, label in zip(FINDINGS, findings.labels, strict=True):
        candidates = [one for one in series if one.scan.kind is finding.condition.series_type]
        if label == MISSING or not candidates:
            continue
        points.append(_mark(person, finding, candidates))
    return tuple(points)


def _mark(person: Anatomy, finding: Finding, candidates: list[Series]) -> Point:
    """The point on the nearest slice of the candidates, in pixels of that slice."""
    place = position(person, finding)
    nearest = min(candidates, key=lambda one: plane_distance(one.scan.affine, one.scan.size, place + one.scan.motion))
    scan = nearest.scan
    voxel = to_voxel(scan.affine, place + scan.motion)
    k = int(np.clip(np.rint(voxel[2]), 0, scan.size[2] - 1))
    x, y = round(float(voxel[0]), 4), round(float(voxel[1]), 4)
    world = scan.affine[:3, :3] @ np.array([x, y, k]) + scan.affine[:3, 3]
    return Point(finding, nearest.id, nearest.instances[k], x, y, world)
