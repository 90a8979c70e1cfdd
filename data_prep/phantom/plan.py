"""What is acquired of a person: series and their planes, sequences, slice numbers and artefacts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data_prep.choices import PhantomSize
from data_prep.phantom.person import Anatomy
from data_prep.phantom.quirks import Quirk
from data_prep.phantom.signal import Sequence, draw_sequence
from monai_spine.geometry import Array
from monai_spine.spine import Level, SeriesType

RISING = {SeriesType.SAGITTAL_T1: 0.36, SeriesType.SAGITTAL_T2: 0.36, SeriesType.AXIAL_T2: 0.12}
"""Share of series whose instance numbers rise along the affine: to the right in sagittal series, upwards in axial ones.
In the other 64 % of sagittal series they rise to the left, so numbers say nothing about sides."""
LARGEST_NUMBER = 5046
AXIAL_SERIES = {2: 0.80, 3: 0.15, 4: 0.05}
"""Shares of studies with several axial series by how many there are."""


@dataclass(frozen=True)
class Matrix:
    """Samples acquired and pixels reconstructed along a side of a square image."""

    acquired: int
    shown: int


MATRICES = {
    (PhantomSize.SMALL, False): Matrix(192, 192),
    (PhantomSize.SMALL, True): Matrix(192, 256),
    (PhantomSize.FULL, False): Matrix(320, 384),
    (PhantomSize.FULL, True): Matrix(320, 512),
}
"""By size, and whether the series is axial."""


@dataclass(frozen=True)
class Ghost:
    """Breathing while the lines of k-space are acquired one after the other."""

    amplitude: float
    """How far the patient moves along the direction of phase encoding, in acquired pixels."""
    breaths: float
    """Breaths per image."""
    phase: float
    """Phase of the first breath, in rad."""


@dataclass(frozen=True)
class Scan:
    """A stack of slices to acquire."""

    series_type: SeriesType
    sequence: Sequence
    field: float
    """Field strength in T."""
    affine: Array
    """From ``(column, row, slice)`` of the images as shown to RAS mm."""
    size: tuple[int, int, int]
    """Columns, rows, slices as shown."""
    acquired: int
    """Samples acquired along a side of the image."""
    thickness: float
    """Slice thickness in mm."""
    motion: Array
    """How far the patient has moved since the study began, RAS mm."""
    ghost: Ghost | None = None
    """How the patient breathes, if breathing leaves ghosts."""
    kept: float = 1.0
    """The share of k-space, from its middle, that is acquired. Below 1 there is no window, so that edges ring."""


@dataclass(frozen=True)
class Stack:
    """A scan and the instance number of each of its slices."""

    scan: Scan
    instances: tuple[int, ...]


@dataclass(frozen=True)
class Series:
    """A series of the tables: one stack, or several angled ones, or none if its folder is empty."""

    id: str
    series_type: SeriesType
    stacks: tuple[Stack, ...]


def scattered_id(start: int, number: int) -> str:
    """An id below 2**32, different for every number; many do not fit an int32, as in the competition."""
    return str((start + number * 2654435761) % 2**32)


def _series_id(seed: int, index: int, number: int) -> str:
    """An id that is different for every series of a seed (at most 64 per study)."""
    return scattered_id(702807833 + seed * 104729, 64 * index + number)


def plan_series(  # noqa: PLR0917 - each is a different thing
    key: tuple[int, int],
    person: Anatomy,
    top: Level,
    size: PhantomSize,
    quirks: frozenset[Quirk],
    rng: np.random.Generator,
) -> tuple[Series, ...]:
    """The series of the study ``key`` = (seed, index), whose axial images begin above the disc of ``top``."""
    field = float(rng.choice([1.5, 3.0]))
    sagittal = [SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2]
    if Quirk.TWO_T1 in quirks:
        sagittal.append(SeriesType.SAGITTAL_T1)
    scans = [(series_type, [plan_sagittal(person, series_type, size, field, rng)]) for series_type in sagittal]
    scans += [(SeriesType.AXIAL_T2, blocks) for blocks in _axial(person, top, size, field, quirks, rng)]
    series = [
        Series(_series_id(*key, number), series_type, _numbered(series_type, blocks, quirks, rng))
        for number, (series_type, blocks) in enumerate(scans)
    ]
    return _with_gaps(series, quirks, rng)


def plan_sagittal(
    anatomy: Anatomy, series_type: SeriesType, size: PhantomSize, field: float, rng: np.random.Generator
) -> Scan:
    """15 to 17 slices of 4 mm across the spine, L3 in the middle."""
    matrix = MATRICES[size, False]
    view = rng.uniform(270.0, 295.0)
    count, step = int(rng.integers(15, 18)), float(rng.choice([4.2, 4.4, 4.6]))
    middle = anatomy.curve.to_world(np.array([rng.normal(0, 1.0), rng.uniform(-8, 4), -10.0]))
    turn = _rotation(rng.normal(0, np.radians(1.5)), rng.normal(0, np.radians(1.5)))
    axes = turn @ np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    affine = _centred(axes, [view / matrix.shown] * 2 + [step], (matrix.shown, matrix.shown, count), middle)
    sequence = draw_sequence(series_type, field, rng)
    motion = rng.normal(0.0, 0.4, 3)
    return Scan(series_type, sequence, field, affine, (matrix.shown, matrix.shown, count), matrix.acquired, 4.0, motion)


def plan_axial(
    anatomy: Anatomy, levels: tuple[Level, Level], size: PhantomSize, field: float, rng: np.random.Generator
) -> Scan:
    """A straight block from above one disc to below another, at right angles to the spine between L3 and L5.

    A block of a single disc lies in the plane of this disc.
    """
    top, bottom = (anatomy.level_disc(level).s for level in levels)
    along = anatomy.curve.tangent(top) + anatomy.curve.tangent(bottom)
    if top != bottom:
        along = anatomy.curve.tangent(anatomy.level_disc(Level.L4_L5).s) + anatomy.curve.tangent(0.0)
    along /= np.linalg.norm(along)
    margin = (11.0, 13.0) if top != bottom else (7.0, 9.0)
    ends = anatomy.curve.to_world(np.array([[0.0, -10.0, top + margin[0]], [0.0, -10.0, bottom - margin[1]]]))
    step = float(rng.choice([4.4, 4.8, 5.0]))
    matrix, view = MATRICES[size, True], rng.uniform(165.0, 190.0)
    shown = (matrix.shown, matrix.shown, int(np.ceil(abs((ends[0] - ends[1]) @ along) / step)) + 1)
    right = np.array([1.0, 0.0, 0.0])
    axes = np.stack([-right, -np.cross(along, right), along], axis=1)
    affine = _centred(axes, [view / matrix.shown] * 2 + [step], shown, ends.mean(axis=0))
    sequence, motion = draw_sequence(SeriesType.AXIAL_T2, field, rng), rng.normal(0.0, 0.4, 3)
    return Scan(SeriesType.AXIAL_T2, sequence, field, affine, shown, matrix.acquired, 4.0, motion)


def _rotation(about_z: float, about_y: float) -> Array:
    """A small rotation in rad about the patient's long axis, then about the antero-posterior axis."""
    cz, sz, cy, sy = np.cos(about_z), np.sin(about_z), np.cos(about_y), np.sin(about_y)
    return np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])


def _centred(axes: Array, step: list[float], size: tuple[int, int, int], middle: Array) -> Array:
    """Affine with the unit vectors ``axes`` (columns) and its middle voxel at ``middle``."""
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(step)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(size) - 1) / 2)
    return affine


def _axial(  # noqa: PLR0917 - as above
    person: Anatomy, top: Level, size: PhantomSize, field: float, quirks: frozenset[Quirk], rng: np.random.Generator
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
    """The levels of two to four axial series: all of them together, and some twice."""
    cut = int(rng.integers(1, len(levels)))
    runs = [levels[: cut + 1], levels[cut:]]
    count = int(rng.choice(list(AXIAL_SERIES), p=list(AXIAL_SERIES.values())))
    more = [levels[-2:], levels[-1:]]
    return runs + more[: count - len(runs)]


def _numbered(
    series_type: SeriesType, scans: list[Scan], quirks: frozenset[Quirk], rng: np.random.Generator
) -> tuple[Stack, ...]:
    """Number all slices of a series, in one direction or the other."""
    total = sum(scan.size[2] for scan in scans)
    numbers = np.arange(1, total + 1)
    if Quirk.ODD_NUMBERS in quirks:
        numbers = np.sort(rng.choice(np.arange(1, LARGEST_NUMBER + 1), total, replace=False))
    ordered = numbers.tolist()
    if rng.random() >= RISING[series_type]:
        ordered.reverse()
    stacks, start = [], 0
    for scan in scans:
        stacks.append(Stack(scan, tuple(ordered[start : start + scan.size[2]])))
        start += scan.size[2]
    return tuple(stacks)


def _with_gaps(series: list[Series], quirks: frozenset[Quirk], rng: np.random.Generator) -> tuple[Series, ...]:
    """Leave out the series types that are missing, and empty the folder of one series."""
    missing = {Quirk.MISSING_T1: SeriesType.SAGITTAL_T1, Quirk.MISSING_T2: SeriesType.SAGITTAL_T2}
    absent = {series_type for quirk, series_type in missing.items() if quirk in quirks}
    kept = [one for one in series if one.series_type not in absent]
    if Quirk.EMPTY_FOLDER in quirks:
        empty = int(rng.integers(len(kept)))
        kept[empty] = replace(kept[empty], stacks=())
    return tuple(kept)


def with_artefacts(
    series: tuple[Series, ...], quirks: frozenset[Quirk], rng: np.random.Generator
) -> tuple[tuple[Series, ...], dict[Quirk, str]]:
    """The series, some with the artefacts that belong to quirks, and the column ``detail`` of `quirks.csv` for each."""
    spoilt = list(series)
    details: dict[Quirk, str] = {}
    for quirk in (Quirk.MOTION_GHOST, Quirk.GIBBS_RINGING):
        # All random numbers are drawn whatever the quirks, so that one artefact does not change the other.
        acquired = [n for n, one in enumerate(spoilt) if one.stacks]
        chosen = acquired[int(rng.integers(len(acquired)))]
        ghost = Ghost(*rng.uniform([1.0, 6.0, 0.0], [2.2, 16.0, 6.28]).tolist())
        kept = float(rng.uniform(0.5, 0.65))
        if quirk not in quirks:
            continue
        one = spoilt[chosen]
        scans = [
            replace(stack.scan, ghost=ghost) if quirk is Quirk.MOTION_GHOST else replace(stack.scan, kept=kept)
            for stack in one.stacks
        ]
        stacks = tuple(replace(stack, scan=scan) for stack, scan in zip(one.stacks, scans, strict=True))
        spoilt[chosen] = replace(one, stacks=stacks)
        details[quirk] = f"series {one.id}"
    return tuple(spoilt), details
