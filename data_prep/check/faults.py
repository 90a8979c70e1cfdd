"""What can be wrong with a data set: codes, how bad each is, what it means and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How bad a fault is; declared from worst to mildest."""

    ERROR = "error"
    """Training would fail, learn something wrong, or be judged wrongly."""
    WARNING = "warning"
    """Probably wrong: look at it."""
    NOTE = "note"
    """Known to happen, and good to know."""

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Kind:
    """What a code stands for, in words."""

    severity: Severity
    title: str
    advice: str


class Code(str, Enum):
    """Stable codes of ``check.json``, in the order of the report; `KINDS` says what each means."""

    BROKEN_ENTRY = "BROKEN_ENTRY"
    STUDY_TWICE = "STUDY_TWICE"
    PATIENT_IN_SEVERAL_FOLDS = "PATIENT_IN_SEVERAL_FOLDS"
    PATIENT_IN_BOTH_SECTIONS = "PATIENT_IN_BOTH_SECTIONS"
    IMAGE_OF_TWO_PATIENTS = "IMAGE_OF_TWO_PATIENTS"
    PATH_OUTSIDE = "PATH_OUTSIDE"
    VOLUME_MISSING = "VOLUME_MISSING"
    VOLUME_UNREADABLE = "VOLUME_UNREADABLE"
    VOLUME_TOO_LARGE = "VOLUME_TOO_LARGE"
    NOT_3D = "NOT_3D"
    NOT_FINITE = "NOT_FINITE"
    CONSTANT_IMAGE = "CONSTANT_IMAGE"
    NO_AFFINE = "NO_AFFINE"
    AFFINE_SINGULAR = "AFFINE_SINGULAR"
    AFFINE_SHEARED = "AFFINE_SHEARED"
    WRONG_PLANE = "WRONG_PLANE"
    POINT_OUTSIDE = "POINT_OUTSIDE"
    SIDES_SWAPPED = "SIDES_SWAPPED"
    LEVELS_OUT_OF_ORDER = "LEVELS_OUT_OF_ORDER"
    LEVELS_DISAGREE = "LEVELS_DISAGREE"
    LEVELS_TOO_CLOSE = "LEVELS_TOO_CLOSE"
    LEVELS_TOO_FAR = "LEVELS_TOO_FAR"
    IMAGES_ALIKE = "IMAGES_ALIKE"
    IMAGE_TWICE = "IMAGE_TWICE"
    TWO_AFFINES = "TWO_AFFINES"
    IMPLAUSIBLE_SIZE = "IMPLAUSIBLE_SIZE"
    MIXED_FIELDS_OF_VIEW = "MIXED_FIELDS_OF_VIEW"
    SERIES_APART = "SERIES_APART"
    OUTLIER = "OUTLIER"
    OUTSIDE_FINGERPRINT = "OUTSIDE_FINGERPRINT"
    SERIES_MISSING = "SERIES_MISSING"
    NO_FOLD = "NO_FOLD"
    LABELS_MISSING = "LABELS_MISSING"
    LABEL_WITHOUT_POINT = "LABEL_WITHOUT_POINT"
    POINT_WITHOUT_LABEL = "POINT_WITHOUT_LABEL"
    LABEL_SHARES_DIFFER = "LABEL_SHARES_DIFFER"

    @property
    def kind(self) -> Kind:
        """What the code stands for."""
        return KINDS[self]

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return KINDS[self].severity


def _error(title: str, advice: str) -> Kind:
    return Kind(Severity.ERROR, title, advice)


def _warning(title: str, advice: str) -> Kind:
    return Kind(Severity.WARNING, title, advice)


def _note(title: str, advice: str) -> Kind:
    return Kind(Severity.NOTE, title, advice)


_CONVERT_AGAIN = "Convert the series again from its DICOM files, or take the volume out of the datalist."
_LOOK_AT_POINTS = "Look at the picture; correct the point, or remove it from the study's points."

KINDS = {
    Code.BROKEN_ENTRY: _error(
        "Entry breaks the datalist's format", "Correct the entry; nothing else about it was checked."
    ),
    Code.STUDY_TWICE: _error("Study stands in the datalist more than once", "Keep one of the entries."),
    Code.PATIENT_IN_SEVERAL_FOLDS: _error(
        "One patient in several folds",
        "Give all studies of a patient the same fold: a model would be judged on patients it was trained on.",
    ),
    Code.PATIENT_IN_BOTH_SECTIONS: _error(
        "One patient in the training and in the test section", "Move all studies of the patient to one section."
    ),
    Code.IMAGE_OF_TWO_PATIENTS: _error(
        "The same image under two patients",
        "Find out whose it is and remove the others; if the patients are one person, give them one patient_id.",
    ),
    Code.PATH_OUTSIDE: _error(
        "Path leaves the datalist's folder",
        "Move the volume into the datalist's folder and name it relative to the datalist; it was not opened.",
    ),
    Code.VOLUME_MISSING: _error("Volume is not there", "Restore the file, or take it out of the datalist."),
    Code.VOLUME_UNREADABLE: _error("Volume cannot be read", _CONVERT_AGAIN),
    Code.VOLUME_TOO_LARGE: _error("Volume is too large to read", _CONVERT_AGAIN),
    Code.NOT_3D: _error("Volume is not three-dimensional", "Split it into 3-D volumes, or take it out."),
    Code.NOT_FINITE: _error("Voxels that are not a number, or infinite", _CONVERT_AGAIN),
    Code.CONSTANT_IMAGE: _error("Image is empty: all voxels have one value", _CONVERT_AGAIN),
    Code.NO_AFFINE: _error(
        "Volume does not say where it lies in the patient",
        "Its header has neither sform nor qform, so left and right are unknown. " + _CONVERT_AGAIN,
    ),
    Code.AFFINE_SINGULAR: _error("Affine has no volume", _CONVERT_AGAIN),
    Code.AFFINE_SHEARED: _error(
        "Affine is sheared", "Slices are shifted against each other. Resample the volume onto right angles."
    ),
    Code.WRONG_PLANE: _error(
        "Plane contradicts the series type", "Put the volume under the series type that its slices show."
    ),
    Code.POINT_OUTSIDE: _error("Point lies outside all volumes of its series type", _LOOK_AT_POINTS),
    Code.SIDES_SWAPPED: _error(
        "Left point lies to the right of the right one",
        "Look at the picture: exchange the two points and their labels, or correct the volume's affine.",
    ),
    Code.LEVELS_OUT_OF_ORDER: _error(
        "Levels do not run downwards", "Look at the picture; correct the levels of the points or of the labels."
    ),
    Code.LEVELS_DISAGREE: _warning(
        "Point lies at another height than the level's other points",
        "Look at the picture: is it at the right level, and is the label?",
    ),
    Code.LEVELS_TOO_CLOSE: _warning("Neighbouring levels lie too close", _LOOK_AT_POINTS),
    Code.LEVELS_TOO_FAR: _warning("Neighbouring levels lie too far apart", _LOOK_AT_POINTS),
    Code.IMAGES_ALIKE: _warning(
        "Images of two patients that are nearly the same",
        "Compare the pictures: a copy, rescaled or denoised, must not stand under another patient.",
    ),
    Code.IMAGE_TWICE: _warning("The same image twice for one patient", "Keep it once, under the right series type."),
    Code.TWO_AFFINES: _warning(
        "sform and qform contradict each other",
        "Programs disagree on which to believe (this one takes the sform). Rewrite the header with one.",
    ),
    Code.IMPLAUSIBLE_SIZE: _warning(
        "Spacing or size is implausible for a lumbar study",
        "Check spacings and units, or whether it is a lumbar series.",
    ),
    Code.MIXED_FIELDS_OF_VIEW: _warning(
        "Fields of view differ within a series type", "Check that all its volumes show what their series type says."
    ),
    Code.SERIES_APART: _warning(
        "Series of a study do not overlap",
        "Check whether they are of one examination and share a frame of reference.",
    ),
    Code.OUTLIER: _warning("Volume unlike the others", "Look whether it is what its series type says."),
    Code.OUTSIDE_FINGERPRINT: _warning(
        "Volume unlike the data set of the given fingerprint",
        "A model trained on that data set has seen nothing like it: judge its results with care.",
    ),
    Code.SERIES_MISSING: _warning(
        "Series type is missing", "Its conditions must be graded from the other series, or left out."
    ),
    Code.NO_FOLD: _warning("Study without a fold", "Give it a fold: cross-validation refuses a datalist without."),
    Code.LABELS_MISSING: _note("Labels are missing", "They are left out of loss and score."),
    Code.LABEL_WITHOUT_POINT: _note("Label without a point", "It serves for grading, not for locating."),
    Code.POINT_WITHOUT_LABEL: _note("Point without a label", "It serves for locating, not for grading."),
    Code.LABEL_SHARES_DIFFER: _note(
        "Grades are more or less common than in the given fingerprint",
        "Probabilities that were calibrated there will be off here.",
    ),
}


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    number
        Of the study among all of the datalist, or None where it concerns the whole.
    study, section
        The study's id and its section, empty where it concerns the whole.
    found
        What was found, with figures, for people.
    series, path
        Series type and path as in the datalist, where it concerns a volume.
    targets
        The findings concerned, in the order of ``TARGETS``.
    others
        Numbers of the other studies concerned.
    """

    code: Code
    number: int | None
    study: str
    section: str
    found: str
    series: str = ""
    path: str = ""
    targets: tuple[str, ...] = ()
    others: tuple[int, ...] = ()

    @property
    def order(self) -> tuple[int, int, int, str, str]:
        """Worst first, then by code, study and place."""
        number = -1 if self.number is None else self.number
        return (self.code.severity.rank, list(Code).index(self.code), number, self.path, self.found)
