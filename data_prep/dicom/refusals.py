"""The reasons why a file or a stack is not converted. Each has a stable code, which the tables show."""

from __future__ import annotations

from enum import Enum


class Reason(str, Enum):
    """Reason codes of ``manifest.csv`` and ``files.csv``. New codes may be added; existing ones are never renamed."""

    # of a stack (`data_prep.dicom.stacks`)
    MISSING_SLICE = "MISSING_SLICE"  # a slice is absent from an otherwise even stack
    UNEVEN_SPACING = "UNEVEN_SPACING"  # neighbouring slices lie at different distances
    SHEARED = "SHEARED"  # slices are shifted inside their own plane, as by a gantry tilt
    MIXED_SHAPE = "MIXED_SHAPE"  # a few images have another matrix size than the rest of the series
    MIXED_SPACING = "MIXED_SPACING"  # a few images have another pixel spacing than the rest of the series
    MIXED_ORIENTATION = "MIXED_ORIENTATION"  # slices of one stack are turned a little against each other
    TOO_FEW_SLICES = "TOO_FEW_SLICES"  # fewer than three slices
    SINGLE_POSITION = "SINGLE_POSITION"  # several images, all at one position
    AMBIGUOUS_VOLUMES = "AMBIGUOUS_VOLUMES"  # positions repeat; the headers do not say which images form a volume
    LOCALIZER = "LOCALIZER"  # a scout: ImageType says so, or one series has slices in several planes

    # of a study (`data_prep.dicom.studies`, `data_prep.dicom.rejoining`)
    MIXED_PATIENTS = "MIXED_PATIENTS"  # images that may be of one patient or of several: neither is proven

    # of a header (`data_prep.dicom.headers`) or its pixel data (`data_prep.dicom.pixels`)
    MOSAIC = "MOSAIC"  # all slices of a volume are tiled into one image
    NO_GEOMETRY = "NO_GEOMETRY"  # position, orientation or pixel spacing is absent or impossible
    TRUNCATED = "TRUNCATED"  # the file ends before its pixel data do
    UNREADABLE = "UNREADABLE"  # not readable as DICOM, or the pixel data do not decode
    UNSUPPORTED = "UNSUPPORTED"  # a pixel format or value mapping that the converter does not handle
    COLOUR = "COLOUR"  # several samples or a palette per pixel
    EMPTY = "EMPTY"  # the file has no bytes
    TOO_LARGE = "TOO_LARGE"  # declares more bytes than --max-bytes
    NOT_AN_IMAGE = "NOT_AN_IMAGE"  # no DICOM file, or a DICOM object without pixels

    # of an input path (`data_prep.dicom.sources`), a choice of the user, the written volume
    UNSAFE_PATH = "UNSAFE_PATH"  # an archive entry or a DICOMDIR reference points outside
    NOT_SELECTED = "NOT_SELECTED"  # left out by --only
    VERIFY_FAILED = "VERIFY_FAILED"  # two readers, or the written volume and the headers, did not agree


class Refused(Exception):  # noqa: N818 - a verdict on the data, not an error
    """A file or a stack is not converted.

    ``reason`` is the code. ``detail`` is a sentence with numbers; it never holds anything that identifies a patient.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
