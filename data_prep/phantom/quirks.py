"""Oddities of real people, scans and collections, each at its rate."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum

import numpy as np

from monai_spine.errors import SpineError


class Quirk(str, Enum):
    """Something that a loader must cope with. New quirks come last: the order is that of the random numbers."""

    SEVERAL_AXIAL = "several-axial"
    """Two to four axial series that share the levels; points spread over them."""
    SUB_STACKS = "sub-stacks"
    """Axial series made of one angled stack per disc."""
    TWO_T1 = "two-t1"
    MISSING_T1 = "missing-t1"
    MISSING_T2 = "missing-t2"
    EMPTY_FOLDER = "empty-folder"
    ODD_NUMBERS = "odd-numbers"
    """Instance numbers with gaps, up to 5,046."""
    REPEATED_SLICE = "repeated-slice"
    """One slice of a series is stored twice, the second time under another instance number."""
    MIXED_SHAPE = "mixed-shape"
    """The last two slices of an axial series have fewer rows."""
    NO_SPACING_TAGS = "no-spacing-tags"
    WRONG_SPACING_TAGS = "wrong-spacing-tags"
    COMPRESSED = "compressed"
    """Pixel data are compressed without loss; each series draws its own method."""
    IMPLICIT_VR = "implicit-vr"
    LABEL_WITHOUT_POINT = "label-without-point"
    POINT_WITHOUT_LABEL = "point-without-label"
    LEVEL_OFF_BY_ONE = "level-off-by-one"
    """All points of a condition carry the name of the level above."""
    POINT_ELSEWHERE = "point-elsewhere"
    L6 = "l6"
    """Six lumbar vertebrae. The five graded levels are the lowest: l5_s1 is the disc between L6 and the sacrum."""
    SACRALISED_L5 = "sacralised-l5"
    """L5 is part of the sacrum, with a rudimentary disc below it: l5_s1 is the disc between L4 and L5."""
    SPONDYLOLISTHESIS = "spondylolisthesis"
    """A vertebra has slipped forwards on the one below."""
    HAEMANGIOMA = "haemangioma"
    """A bright, coarsely spotted patch in a vertebral body."""
    FLOW_VOID = "flow-void"
    """Cerebrospinal fluid that moves is dark on T2."""
    MOTION_GHOST = "motion-ghost"
    """Breathing repeats a series' images along the direction of phase encoding."""
    GIBBS_RINGING = "gibbs-ringing"
    """A series lacks the outer lines of k-space: edges ring."""
    ENHANCED = "enhanced"
    """Each series is one multi-frame Enhanced MR object, `1.dcm`. A point has the number of its frame, from 1."""
    BIG_ENDIAN = "big-endian"
    SIDES_SWAPPED = "sides-swapped"
    """The left and right points of a level have exchanged their names."""


RATES = {
    Quirk.SEVERAL_AXIAL: 0.17,
    Quirk.SUB_STACKS: 0.40,
    Quirk.TWO_T1: 7 / 1975,
    Quirk.MISSING_T1: 0.005,
    Quirk.MISSING_T2: 0.005,
    Quirk.EMPTY_FOLDER: 0.01,
    Quirk.ODD_NUMBERS: 0.15,
    Quirk.REPEATED_SLICE: 0.01,
    Quirk.MIXED_SHAPE: 0.01,
    Quirk.NO_SPACING_TAGS: 0.03,
    Quirk.WRONG_SPACING_TAGS: 0.03,
    Quirk.COMPRESSED: 0.05,
    Quirk.IMPLICIT_VR: 0.10,
    Quirk.LABEL_WITHOUT_POINT: 0.15,
    Quirk.POINT_WITHOUT_LABEL: 0.02,
    Quirk.LEVEL_OFF_BY_ONE: 0.01,
    Quirk.POINT_ELSEWHERE: 0.02,
    Quirk.L6: 0.04,
    Quirk.SACRALISED_L5: 0.06,
    Quirk.SPONDYLOLISTHESIS: 0.08,
    Quirk.HAEMANGIOMA: 0.10,
    Quirk.FLOW_VOID: 0.20,
    Quirk.MOTION_GHOST: 0.06,
    Quirk.GIBBS_RINGING: 0.06,
    Quirk.ENHANCED: 0.0,
    Quirk.BIG_ENDIAN: 0.0,
    Quirk.SIDES_SWAPPED: 1 / 1975,
}
"""Share of studies. Published of the competition's data: several axial series, two T1 series, sides swapped (1 of 8,770
points); label without a point is 1-2 % of labels, here three labels in 15 % of studies. Transitional vertebrae, slips
and haemangiomas are about as frequent as in adults' spines by the radiological literature, whose figures differ widely.
The others are guesses. The competition's files are classic and little endian: quirks with a rate of 0 must be forced.
"""

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

NONE: frozenset[Quirk] = frozenset()


def draw_quirks(rng: np.random.Generator, forced: Collection[Quirk] = NONE) -> frozenset[Quirk]:
    """The quirks of one study: those that are forced, and each of the others at its rate.

    Of two that exclude each other the forced one stays, or else the first.
    """
    quirks = {quirk for quirk in Quirk if rng.random() < RATES[quirk]} | set(forced)
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
    quirks = set()
    for name in names:
        if name not in {quirk.value for quirk in Quirk}:
            raise SpineError(f"no quirk is called {name!r}; expected some of: {', '.join(q.value for q in Quirk)}")
        quirks.add(Quirk(name))
    for first, second in CONFLICTS:
        if {first, second} <= quirks:
            raise SpineError(f"a study cannot be both {first.value} and {second.value}; force one of them")
    return frozenset(quirks)
