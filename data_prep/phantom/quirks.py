"""What is odd about real collections, each at its rate in the RSNA 2024 data (or a guess where none is published)."""

from __future__ import annotations

from enum import Enum

import numpy as np


class Quirk(str, Enum):
    """Something that a loader must live with."""

    SEVERAL_AXIAL = "several-axial"
    """Two or three axial series that share the levels; points spread over them."""
    SUB_STACKS = "sub-stacks"
    """Axial series made of one angled stack per disc."""
    TWO_T1 = "two-t1"
    MISSING_T1 = "missing-t1"
    MISSING_T2 = "missing-t2"
    EMPTY_FOLDER = "empty-folder"
    ODD_NUMBERS = "odd-numbers"
    """Instance numbers with gaps, up to 5,000."""
    REPEATED_SLICE = "repeated-slice"
    """One slice of a series stands there twice, under another instance number."""
    MIXED_SHAPE = "mixed-shape"
    """The outer slices of an axial series have fewer rows."""
    NO_SPACING_TAGS = "no-spacing-tags"
    WRONG_SPACING_TAGS = "wrong-spacing-tags"
    COMPRESSED = "compressed"
    """RLE lossless pixel data."""
    IMPLICIT_VR = "implicit-vr"
    LABEL_WITHOUT_POINT = "label-without-point"
    POINT_WITHOUT_LABEL = "point-without-label"
    LEVEL_OFF_BY_ONE = "level-off-by-one"
    """All points of a condition carry the name of the level above."""
    POINT_ELSEWHERE = "point-elsewhere"


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
}
"""Share of studies. Published: several axial series, two T1 series; label without a point is 1-2 % of labels, here
three labels in 15 % of studies. The others are guesses."""

NONE: frozenset[Quirk] = frozenset()


def draw(rng: np.random.Generator) -> frozenset[Quirk]:
    """The quirks of one study, each at its rate; a study keeps at least one sagittal series."""
    found = {quirk for quirk in Quirk if rng.random() < RATES[quirk]}
    if {Quirk.MISSING_T1, Quirk.MISSING_T2} <= found:
        found.discard(Quirk.MISSING_T2)
    return frozenset(found)
