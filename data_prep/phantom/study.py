"""One study of a cohort: person, disease, labels, the series to acquire, and where its points lie."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from data_prep.phantom import anatomy as people
from data_prep.phantom import artefacts, disease, plan, points, quirks, readers, variants
from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.disease import Disease
from data_prep.phantom.identity import study_id
from data_prep.phantom.plan import Series
from data_prep.phantom.points import Point
from data_prep.phantom.quirks import Quirk
from data_prep.phantom.size import Size
from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, MISSING, Group, Level


class Stream(IntEnum):
    """What random numbers are for. Each use has its own stream, so that one does not shift another."""

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
CRANIAL_START = {Level.L1_L2: 0.917, Level.L2_L3: 0.042, Level.L3_L4: 0.041}
"""Shares of studies by the highest disc that the axial block reaches: above it, subarticular labels are missing."""
UNLABELLED = 0.0005
"""Share of other labels that nobody recorded."""


@dataclass(frozen=True)
class Findings:
    """What is known and recorded of a study, each of length 25 in the order of ``FINDINGS``."""

    disease: Disease
    posterior: Array
    labels: Array
    top: Level


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
    """What there is to be said of some of its quirks."""


def stream(seed: int, index: int, use: Stream) -> np.random.Generator:
    """The random numbers of one use in one study, whatever else is drawn."""
    return np.random.default_rng([seed, index, use])


def draw_findings(seed: int, index: int) -> Findings:
    """Disease and labels of a study, without its anatomy: fast."""
    illness = disease.draw(stream(seed, index, Stream.DISEASE))
    rng = stream(seed, index, Stream.READER)
    labels = readers.read(illness.severity, rng)
    top = list(CRANIAL_START)[int(rng.choice(len(CRANIAL_START), p=list(CRANIAL_START.values())))]
    labels[rng.random(len(FINDINGS)) < UNLABELLED] = MISSING
    for i, finding in enumerate(FINDINGS):
        if finding.condition.group is Group.SUBARTICULAR and _above(finding.level, top):
            labels[i] = MISSING
    return Findings(illness, readers.posterior(illness.severity), labels, top)


def _above(level: Level, top: Level) -> bool:
    return list(Level).index(level) < list(Level).index(top)


def oddities(seed: int, index: int, forced: frozenset[Quirk] = quirks.NONE) -> frozenset[Quirk]:
    """The quirks of a study of a real collection: those that are ``forced``, the others at their rates."""
    return quirks.draw(stream(seed, index, Stream.QUIRKS), forced)


def draw(seed: int, index: int, size: Size, odd: frozenset[Quirk] = quirks.NONE) -> Study:
    """A study with all but its images; ``odd`` names its quirks."""
    findings = draw_findings(seed, index)
    unusual = variants.draw(odd, stream(seed, index, Stream.VARIANTS))
    rng = stream(seed, index, Stream.ANATOMY)
    person = people.draw(findings.disease, rng, rng.normal(0.0, [8.0, 15.0, 25.0]), unusual)
    manufacturer = MANUFACTURERS[int(rng.integers(len(MANUFACTURERS)))]
    series = plan.plan((seed, index), person, findings.top, size, odd, stream(seed, index, Stream.PLAN))
    series, spoilt = artefacts.spoil(series, odd, stream(seed, index, Stream.ARTEFACTS))
    marks = points.mark(person, findings.labels, series, odd, stream(seed, index, Stream.POINTS))
    details = {**unusual.describe(), **spoilt}
    return Study(study_id(seed, index), seed, index, findings, person, series, marks, manufacturer, odd, details)
