"""What is odd about a study of a collection: found, reported and kept, never a reason to crash."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FaultKind(str, Enum):
    """Stable codes of ``quality.csv``: extended, never renamed."""

    NO_VOLUME = "NO_VOLUME"
    NO_SERIES_TYPE = "NO_SERIES_TYPE"
    NO_IMAGES = "NO_IMAGES"
    NO_COVER = "NO_COVER"
    UNKNOWN_SERIES = "UNKNOWN_SERIES"
    UNKNOWN_STUDY = "UNKNOWN_STUDY"
    STRAY_FILES = "STRAY_FILES"
    REFUSED_STACK = "REFUSED_STACK"
    REFUSED_FILE = "REFUSED_FILE"
    FOUR_DIMENSIONAL = "FOUR_DIMENSIONAL"
    TYPE_NOT_TOLD = "TYPE_NOT_TOLD"
    TYPE_CONTRADICTED = "TYPE_CONTRADICTED"
    IN_BOTH_SECTIONS = "IN_BOTH_SECTIONS"
    NO_POINT = "NO_POINT"
    NO_LABEL = "NO_LABEL"
    NO_SLICE = "NO_SLICE"
    SECOND_POINT = "SECOND_POINT"
    WRONG_SERIES_TYPE = "WRONG_SERIES_TYPE"
    OUTSIDE_IMAGE = "OUTSIDE_IMAGE"
    NOT_IN_VOLUME = "NOT_IN_VOLUME"
    ROUND_TRIP = "ROUND_TRIP"
    SIDES_SWAPPED = "SIDES_SWAPPED"
    LEVELS_OUT_OF_ORDER = "LEVELS_OUT_OF_ORDER"
    OFF_LEVEL = "OFF_LEVEL"


MEANINGS: dict[FaultKind, str] = {
    FaultKind.NO_VOLUME: "none of the study's series became a volume; the study is left out of the datalist",
    FaultKind.NO_SERIES_TYPE: "the study has no volume of a series type; the datalist leaves the type out",
    FaultKind.NO_IMAGES: "a series of the tables has no DICOM file",
    FaultKind.NO_COVER: "no plane of the series type that shows this finding comes near enough to its point",
    FaultKind.UNKNOWN_SERIES: "a series folder that no table gives a type; left out of the datalist",
    FaultKind.UNKNOWN_STUDY: "a study that the table of studies does not know; left out",
    FaultKind.STRAY_FILES: "files outside of <study>/<series>/; not read",
    FaultKind.REFUSED_STACK: "the converter refused images; manifest.csv or series.csv says why",
    FaultKind.REFUSED_FILE: "files that could not be read",
    FaultKind.FOUR_DIMENSIONAL: "a volume over time, which no series type expects; left out of the datalist",
    FaultKind.TYPE_NOT_TOLD: "a series whose type nobody gave and nothing tells for sure; left out: give it",
    FaultKind.TYPE_CONTRADICTED: "a series whose slices cannot be of the type that was given; left out",
    FaultKind.IN_BOTH_SECTIONS: "the patient also has a labelled study; do not judge a model by this one",
    FaultKind.NO_POINT: "a label without a point",
    FaultKind.NO_LABEL: "a point without a label; the point is kept",
    FaultKind.NO_SLICE: "a point on a slice that is not there, or has no position; the point is lost",
    FaultKind.SECOND_POINT: "a second point of one finding; the first is kept",
    FaultKind.WRONG_SERIES_TYPE: "a point on a series of another type than its condition's; kept",
    FaultKind.OUTSIDE_IMAGE: "a point outside of its image; kept",
    FaultKind.NOT_IN_VOLUME: "a point on a slice that the converter left out; kept, its header gives the position",
    FaultKind.ROUND_TRIP: "a point that does not come back to its pixel through the volume; the point is lost",
    FaultKind.SIDES_SWAPPED: "a left point that lies to the right of its right one; kept, look at it",
    FaultKind.LEVELS_OUT_OF_ORDER: "points of a condition that do not run downwards from L1/L2; kept, look at them",
    FaultKind.OFF_LEVEL: "a point far above or below the other points of its level; kept, look at it",
}
"""One line of explanation per code."""


@dataclass(frozen=True, order=True)
class Fault:
    """One fault; what it concerns is empty where it concerns more."""

    study_id: str
    series_id: str
    target: str
    kind: FaultKind
    detail: str
