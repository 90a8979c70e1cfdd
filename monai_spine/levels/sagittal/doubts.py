"""Doubts about the levels of a volume, and flags of single points: their words, as files and pages have them.

Each is raised where it is seen: `chain` and `region_chain` see one volume, `monai_spine.levels.merged_volumes` several
series, `monai_spine.levels.several_locators` several models, `monai_spine.levels.localizers` an image upside down.
"""

from enum import Enum


class Doubt(str, Enum):
    """A reason why the levels of a volume are uncertain, in words."""

    NO_SACRUM = "the sacrum is not in view"
    FAINT_SACRUM = "the sacrum below the lowest disc is faint"
    RIVAL = "two discs may be the lumbosacral one"
    BELOW = "a disc may lie below the lumbosacral one"
    WIDE_GAP = "two discs are so far apart that one may have been missed, or that the lower one is none"
    NOT_BORNE_OUT = "the canal at the lowest disc is faint, and the sacrum below it is not plain"
    FAINT_LOWEST = "the canal at the lowest disc is faint"
    PASSED_OVER = "a place in the canal may be a disc that is not counted"
    WITNESSES = "the canal and the discs in front of it are counted differently"
    NO_DISCS = "the discs in front of the canal are not seen"
    FEW_DISCS = "fewer than five discs were seen, although the spine goes on above"
    SERIES = "two series of the study are counted differently"
    MODELS = "two level localizers count differently, or one finds no spine"
    UPSIDE_DOWN = "the spine may be upside down"


class Flag(str, Enum):
    """A warning about a level or a point."""

    UNCERTAIN_LEVEL = "uncertain_level"
    """The level may be wrong: the lumbosacral disc is out of view, faint, or not the only candidate."""
    ODD_SPACING = "odd_spacing"
    """A neighbouring disc is closer or farther than in adults."""
    FAINT = "faint"
    """The peak is lower than `FAINT_HEIGHT`."""
    SERIES_DIFFER = "series_differ"
    """Another series of the study shows the point more than 6 mm away: the patient moved, or one point is wrong."""
    MODELS_DIFFER = "models_differ"
    """Of several level localizers, one finds the point more than 6 mm away from the mean."""
    INTERPOLATED = "interpolated"
    """No peak: a disc placed between two others, or a foramen at its expected place."""
    UNVERIFIED_WEIGHTS = "unverified_weights"
    """The checksums of the localizers' weights were not compared, at the user's wish: they may be damaged."""
