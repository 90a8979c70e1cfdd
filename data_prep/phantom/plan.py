"""What is acquired of a person: series, their stacks, and the numbers of their slices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.identity import series_id
from data_prep.phantom.quirks import Quirk
from data_prep.phantom.scan import Scan, plan_axial, plan_sagittal
from data_prep.phantom.size import Size
from monai_spine.spine import Level, SeriesType

RISING = {SeriesType.SAGITTAL_T1: 0.36, SeriesType.SAGITTAL_T2: 0.36, SeriesType.AXIAL_T2: 0.12}
"""Share of series whose instance numbers rise along the affine: to the right in sagittal series (to the left in the
other 64 %, so that numbers say nothing about sides), upwards in axial ones."""
LARGEST_NUMBER = 5046
AXIAL_SERIES = {2: 0.80, 3: 0.15, 4: 0.05}
"""How many axial series there are where there are several."""


@dataclass(frozen=True)
class Stack:
    """A scan and the instance number of each of its slices."""

    scan: Scan
    instances: tuple[int, ...]


@dataclass(frozen=True)
class Series:
    """A series as the tables know it: one stack, or several angled ones; none if its folder is empty."""

    id: str
    kind: SeriesType
    stacks: tuple[Stack, ...]


def plan(  # noqa: PLR0917 - each is a different thing
    key: tuple[int, int], person: Anatomy, top: Level, size: Size, quirks: frozenset[Quirk], rng: np.random.Generator
) -> tuple[Series, ...]:
    """The series of the study ``key`` = (seed, index), whose axial images begin above the disc of ``top``."""
    field = float(rng.choice([1.5, 3.0]))
    kinds = [SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2]
    if Quirk.TWO_T1 in quirks:
        kinds.append(SeriesType.SAGITTAL_T1)
    scans = [(kind, [plan_sagittal(person, kind, size, field, rng)]) for kind in kinds]
    scans += [(SeriesType.AXIAL_T2, blocks) for blocks in _axial(person, top, size, field, quirks, rng)]
    series = [
        Series(series_id(*key, number), kind, _numbered(kind, blocks, quirks, rng))
        for number, (kind, blocks) in enumerate(scans)
    ]
    return _with_gaps(series, quirks, rng)


def _axial(  # noqa: PLR0917 - as above
    person: Anatomy, top: Level, size: Size, field: float, quirks: frozenset[Quirk], rng: np.random.Generator
) -> list[list[Scan]]:
    """The blocks of every axial series."""
    levels = list(Level)[list(Level).index(top) :]
    runs = [levels]
    if Quirk.SEVERAL_AXIAL in quirks:
        runs = _runs(levels, rng)
    if Quirk.SUB_STACKS not in quirks:
        return [[plan_axial(person, (run[0], run[-1]), size, field, rng)] for run in runs]
    return [[plan_axial(person, (level, level), size, field, rng) for level in run] for run in runs]


def _runs(levels: list[Level], rng: np.random.Generator) -> list[list[Level]]:
    """The levels of two to four axial series: together all of them, and some twice."""
    cut = int(rng.integers(1, len(levels)))
    runs = [levels[: cut + 1], levels[cut:]]
    count = int(rng.choice(list(AXIAL_SERIES), p=list(AXIAL_SERIES.values())))
    more = [levels[-2:], levels[-1:]]
    return runs + more[: count - len(runs)]


def _numbered(
    kind: SeriesType, scans: list[Scan], quirks: frozenset[Quirk], rng: np.random.Generator
) -> tuple[Stack, ...]:
    """Number the slices of a series through, in one direction or the other."""
    total = sum(scan.size[2] for scan in scans)
    numbers = np.arange(1, total + 1)
    if Quirk.ODD_NUMBERS in quirks:
        numbers = np.sort(rng.choice(np.arange(1, LARGEST_NUMBER + 1), total, replace=False))
    ordered = numbers.tolist()
    if rng.random() >= RISING[kind]:
        ordered.reverse()
    stacks, start = [], 0
    for scan in scans:
        stacks.append(Stack(scan, tuple(ordered[start : start + scan.size[2]])))
        start += scan.size[2]
    return tuple(stacks)


def _with_gaps(series: list[Series], quirks: frozenset[Quirk], rng: np.random.Generator) -> tuple[Series, ...]:
    """Leave out what is missing, and empty the folder of one series."""
    absent = {
        kind
        for kind, quirk in (
            (SeriesType.SAGITTAL_T1, Quirk.MISSING_T1),
            (SeriesType.SAGITTAL_T2, Quirk.MISSING_T2),
        )
        if quirk in quirks
    }
    kept = [one for one in series if one.kind not in absent]
    if Quirk.EMPTY_FOLDER in quirks:
        empty = int(rng.integers(len(kept)))
        kept[empty] = replace(kept[empty], stacks=())
    return tuple(kept)
