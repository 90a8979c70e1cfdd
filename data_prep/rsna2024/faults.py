"""What is odd about a study of a collection: found, reported and kept, never a reason to crash."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FaultKind(str, Enum):
    """Stable codes of ``quality.csv``."""

    NO_VOLUME = "NO_VOLUME"
    """None of the study's series became a volume: the study is left out."""
    NO_SERIES_TYPE = "NO_SERIES_TYPE"
    """The study has no volume of a series type."""
    NO_IMAGES = "NO_IMAGES"
    """A series of the table has no DICOM file."""
    UNKNOWN_SERIES = "UNKNOWN_SERIES"
    """A series folder is not in the table of series types."""
    UNKNOWN_STUDY = "UNKNOWN_STUDY"
    """A study of one table or folder is not in ``train.csv``."""
    REFUSED_STACK = "REFUSED_STACK"
    """The converter refused a stack."""
    FOUR_DIMENSIONAL = "FOUR_DIMENSIONAL"
    """A stack became a volume over time, which no series type expects."""
    NO_POINT = "NO_POINT"
    """A label without a point."""
    NO_LABEL = "NO_LABEL"
    """A point without a label."""
    NO_SLICE = "NO_SLICE"
    """A point on a slice that is not there, or has no position: the point is lost."""
    SECOND_POINT = "SECOND_POINT"
    """A second point of one finding: the first is kept."""
    WRONG_SERIES_TYPE = "WRONG_SERIES_TYPE"
    """A point on a series of another type than its condition's."""
    OUTSIDE_IMAGE = "OUTSIDE_IMAGE"
    NOT_IN_VOLUME = "NOT_IN_VOLUME"
    """A point on a slice that the converter left out: its position is known all the same."""
    ROUND_TRIP = "ROUND_TRIP"
    """A point does not come back to its pixel through the volume's affine: the point is lost."""
    SIDES_SWAPPED = "SIDES_SWAPPED"
    """A left point lies to the right of its right one."""
    LEVELS_OUT_OF_ORDER = "LEVELS_OUT_OF_ORDER"
    """The points of a condition do not run downwards from L1/L2."""


@dataclass(frozen=True, order=True)
class Fault:
    """One fault; what it concerns is empty where it concerns more."""

    study_id: str
    series_id: str
    target: str
    kind: FaultKind
    detail: str
