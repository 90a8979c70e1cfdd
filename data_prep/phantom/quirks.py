"""Oddities of real people, scans and collections, each at its rate; and what an oddity changes in a spine."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from monai_spine.errors import SpineError
from monai_spine.spine import Level

NONE: frozenset[Quirk] = frozenset()
SLIPS = {Level.L3_L4: 0.15, Level.L4_L5: 0.60, Level.L5_S1: 0.25}
"""Shares of slips by level."""


class Quirk(str, Enum):
    """Something that a loader must cope with, and its ``rate``: the share of studies that have it.

    Published of the competition's data are the rates of several axial series, two T1 series and sides swapped (1 of
    8,770 points). Label without a point is 1-2 % of labels, here three labels in 15 % of studies. Transitional
    vertebrae, slips and haemangiomas are about as frequent as in adults' spines by the radiological literature, whose
    figures differ widely. The others are guesses. The competition's files are classic and little endian: quirks with a
    rate of 0 must be forced.

    New quirks come last: the order is that of the random numbers.
    """

    rate: float

    def __new__(cls, value: str, rate: float) -> Quirk:
        """A member whose value is its name alone."""
        quirk = str.__new__(cls, value)
        quirk._value_ = value
        quirk.rate = rate
        return quirk

    SEVERAL_AXIAL = "several-axial", 0.17
    """Two to four axial series that share the levels; points spread over them."""
    SUB_STACKS = "sub-stacks", 0.40
    """Axial series made of one angled stack per disc."""
    TWO_T1 = "two-t1", 7 / 1975
    MISSING_T1 = "missing-t1", 0.005
    MISSING_T2 = "missing-t2", 0.005
    EMPTY_FOLDER = "empty-folder", 0.01
    ODD_NUMBERS = "odd-numbers", 0.15
    """Instance numbers with gaps, up to 5,046."""
    REPEATED_SLICE = "repeated-slice", 0.01
    """One slice of a series is stored twice, the second time under another instance number."""
    MIXED_SHAPE = "mixed-shape", 0.01
    """The last two slices of an axial series have fewer rows."""
    NO_SPACING_TAGS = "no-spacing-tags", 0.03
    WRONG_SPACING_TAGS = "wrong-spacing-tags", 0.03
    COMPRESSED = "compressed", 0.05
    """Pixel data are compressed without loss; each series draws its own method."""
    IMPLICIT_VR = "implicit-vr", 0.10
    LABEL_WITHOUT_POINT = "label-without-point", 0.15
    POINT_WITHOUT_LABEL = "point-without-label", 0.02
    LEVEL_OFF_BY_ONE = "level-off-by-one", 0.01
    """All points of a condition carry the name of the level above."""
    POINT_ELSEWHERE = "point-elsewhere", 0.02
    L6 = "l6", 0.04
    """Six lumbar vertebrae. The five graded levels are the lowest: l5_s1 is the disc between L6 and the sacrum."""
    SACRALISED_L5 = "sacralised-l5", 0.06
    """L5 is part of the sacrum, with a rudimentary disc below it: l5_s1 is the disc between L4 and L5."""
    SPONDYLOLISTHESIS = "spondylolisthesis", 0.08
    """A vertebra has slipped forwards on the one below."""
    HAEMANGIOMA = "haemangioma", 0.10
    """A bright, coarsely spotted patch in a vertebral body."""
    FLOW_VOID = "flow-void", 0.20
    """Cerebrospinal fluid that moves is dark on T2."""
    MOTION_GHOST = "motion-ghost", 0.06
    """Breathing repeats a series' images along the direction of phase encoding."""
    GIBBS_RINGING = "gibbs-ringing", 0.06
    """A series lacks the outer lines of k-space: edges ring."""
    ENHANCED = "enhanced", 0.0
    """Each series is one multi-frame Enhanced MR object, `1.dcm`. A point has the number of its frame, from 1."""
    BIG_ENDIAN = "big-endian", 0.0
    SIDES_SWAPPED = "sides-swapped", 1 / 1975
    """The left and right points of a level have exchanged their names."""


CONFLICTS = (
    (Quirk.MISSING_T1, Quirk.MISSING_T2),
    (Quirk.TWO_T1, Quirk.MISSING_T1),
    (Quirk.NO_SPACING_TAGS, Quirk.WRONG_SPACING_TAGS),
    (Quirk.COMPRESSED, Quirk.IMPLICIT_VR),
    (Quirk.COMPRESSED, Quirk.BIG_ENDIAN),
    (Quirk.IMPLICIT_VR, Quirk.BIG_ENDIAN),
    (Quirk.L6, Quirk.SACRALISED_L5),
    (Quirk.ENHANCED, Quirk.ODD_NUMBERS),
    (Quirk.ENHANCED, Quirk.REPEATED_SLICE),
    (Quirk.ENHANCED, Quirk.MIXED_SHAPE),
    (Quirk.ENHANCED, Quirk.COMPRESSED),
)
"""Pairs of quirks that exclude each other."""


def draw_quirks(rng: np.random.Generator, forced: Collection[Quirk] = NONE) -> frozenset[Quirk]:
    """The quirks of one study: those that are forced, and each of the others at its rate.

    Of two that exclude each other the forced one stays, or else the first.
    """
    quirks = {quirk for quirk in Quirk if rng.random() < quirk.rate} | set(forced)
    for first, second in CONFLICTS:
        if {first, second} <= quirks:
            quirks.discard(first if second in forced else second)
    return frozenset(quirks)


def named(names: Iterable[str]) -> frozenset[Quirk]:
    """The quirks of these names.

    Raises
    ------
    SpineError
        If no quirk has a name, or if two of the quirks exclude each other.
    """
    quirks, by_name = set(), {quirk.value: quirk for quirk in Quirk}
    for name in names:
        if name not in by_name:
            raise SpineError(f"no quirk is called {name!r}; expected some of: {', '.join(by_name)}")
        quirks.add(by_name[name])
    for first, second in CONFLICTS:
        if {first, second} <= quirks:
            raise SpineError(f"a study cannot be both {first.value} and {second.value}; force one of them")
    return frozenset(quirks)


class Transition(Enum):
    """Where the lumbar spine ends and the sacrum begins."""

    USUAL = "usual"
    L6 = "l6"
    SACRALISED_L5 = "sacralised-l5"


@dataclass(frozen=True)
class Slip:
    """The vertebra above the disc of a level has slipped forwards by ``amount`` mm."""

    level: Level
    amount: float


@dataclass(frozen=True)
class Haemangioma:
    """A ball in a vertebral body."""

    above_sacrum: int
    """0 for the lowest body above the sacrum, 1 for the one above it, and so on."""
    place: tuple[float, float, float]
    """Offset of its middle from the body's middle: right, anterior and up, in halves of the body's size."""
    radius: float
    """Radius in mm."""


@dataclass(frozen=True)
class Variants:
    """What is unusual about a person; nothing by default."""

    transition: Transition = Transition.USUAL
    slip: Slip | None = None
    haemangioma: Haemangioma | None = None
    pulsating: bool = False
    """Whether cerebrospinal fluid moves fast enough to lose its signal on T2."""

    def describe(self) -> dict[Quirk, str]:
        """The column ``detail`` of `quirks.csv` for each variant."""
        details = {}
        if self.transition is Transition.L6:
            details[Quirk.L6] = f"{Level.L1_L2.value} is L2/L3, {Level.L5_S1.value} is L6/S1"
        elif self.transition is Transition.SACRALISED_L5:
            details[Quirk.SACRALISED_L5] = f"{Level.L1_L2.value} is T12/L1, {Level.L5_S1.value} is L4/L5"
        if self.slip is not None:
            details[Quirk.SPONDYLOLISTHESIS] = f"{self.slip.amount:.1f} mm at {self.slip.level.value}"
        if self.haemangioma is not None:
            above = list(Level)[-1 - self.haemangioma.above_sacrum]
            details[Quirk.HAEMANGIOMA] = f"{2 * self.haemangioma.radius:.0f} mm, in the body above {above.value}"
        return details


NORMAL = Variants()


def draw_variants(quirks: frozenset[Quirk], rng: np.random.Generator) -> Variants:
    """The variants that belong to some quirks."""
    # All random numbers are drawn whatever the quirks, so that one variant does not change another.
    level = list(SLIPS)[int(rng.choice(len(SLIPS), p=list(SLIPS.values())))]
    slip = Slip(level, float(rng.uniform(4.0, 11.0)))
    place = tuple(rng.uniform([-0.45, -0.4, -0.3], [0.45, 0.4, 0.3]).tolist())
    haemangioma = Haemangioma(int(rng.integers(len(Level))), place, float(rng.uniform(5.0, 10.0)))
    transition = Transition.L6 if Quirk.L6 in quirks else Transition.USUAL
    return Variants(
        Transition.SACRALISED_L5 if Quirk.SACRALISED_L5 in quirks else transition,
        slip if Quirk.SPONDYLOLISTHESIS in quirks else None,
        haemangioma if Quirk.HAEMANGIOMA in quirks else None,
        Quirk.FLOW_VOID in quirks,
    )
