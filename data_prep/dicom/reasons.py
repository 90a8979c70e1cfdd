"""Why a file or a stack was not converted: one stable code each, raised inside and written into the tables."""

from __future__ import annotations

from enum import Enum


class Reason(str, Enum):
    """Reason codes of ``manifest.csv`` and ``files.csv``. Stable: extended, never renamed."""

    MISSING_SLICE = "MISSING_SLICE"
    UNEVEN_SPACING = "UNEVEN_SPACING"
    SHEARED = "SHEARED"
    MIXED_SHAPE = "MIXED_SHAPE"
    MIXED_SPACING = "MIXED_SPACING"
    MIXED_ORIENTATION = "MIXED_ORIENTATION"
    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    SINGLE_POSITION = "SINGLE_POSITION"
    AMBIGUOUS_VOLUMES = "AMBIGUOUS_VOLUMES"
    MOSAIC = "MOSAIC"
    LOCALIZER = "LOCALIZER"
    NO_GEOMETRY = "NO_GEOMETRY"
    TRUNCATED = "TRUNCATED"
    UNREADABLE = "UNREADABLE"
    UNSUPPORTED = "UNSUPPORTED"
    UNSAFE_PATH = "UNSAFE_PATH"
    TOO_LARGE = "TOO_LARGE"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    NOT_SELECTED = "NOT_SELECTED"
    COLOUR = "COLOUR"
    EMPTY = "EMPTY"
    VERIFY_FAILED = "VERIFY_FAILED"


MEANINGS: dict[Reason, str] = {
    Reason.MISSING_SLICE: "a slice is absent from an otherwise even stack",
    Reason.UNEVEN_SPACING: "neighbouring slices lie at different distances",
    Reason.SHEARED: "slices are shifted inside their own plane, as by a gantry tilt",
    Reason.MIXED_SHAPE: "a few images of another matrix size than the rest of the series",
    Reason.MIXED_SPACING: "a few images of another pixel spacing than the rest of the series",
    Reason.MIXED_ORIENTATION: "slices of one stack that are turned a little against each other",
    Reason.TOO_FEW_SLICES: "fewer than three slices",
    Reason.SINGLE_POSITION: "several images, all at one position",
    Reason.AMBIGUOUS_VOLUMES: "positions repeat, and the headers do not say which images form a volume",
    Reason.MOSAIC: "all slices of a volume tiled into one image",
    Reason.LOCALIZER: "a scout: an image type that says so, or one series in several planes",
    Reason.NO_GEOMETRY: "position, orientation or pixel spacing absent or impossible",
    Reason.TRUNCATED: "the file ends before its pixel data do",
    Reason.UNREADABLE: "not readable as DICOM, or pixel data that do not decode",
    Reason.UNSUPPORTED: "a pixel format or value mapping that is not handled",
    Reason.UNSAFE_PATH: "an archive entry or a DICOMDIR reference that points outside",
    Reason.TOO_LARGE: "declares more bytes than --max-bytes",
    Reason.NOT_AN_IMAGE: "no DICOM, or a DICOM object without pixels",
    Reason.NOT_SELECTED: "left out by --only",
    Reason.COLOUR: "several samples or a palette per pixel",
    Reason.EMPTY: "a file of no bytes",
    Reason.VERIFY_FAILED: "what was written did not agree with the headers, and was removed",
}
"""One line of explanation per code."""


class Refused(Exception):  # noqa: N818 - a verdict on the data, not an error
    """A file or a stack is not converted: the code, and a sentence with numbers but no identity."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
