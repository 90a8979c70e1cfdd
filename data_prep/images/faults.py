"""What can be wrong with a set of images: codes, how bad each is, what it means and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from data_prep.check.faults import Kind, Severity


class Code(str, Enum):
    """Stable codes of ``report.json``, in the order of the report."""

    UNREADABLE = "UNREADABLE"
    MISSING = "MISSING"
    COPY_IN_TEST = "COPY_IN_TEST"
    ALIKE_IN_TEST = "ALIKE_IN_TEST"
    PATIENT_IN_TEST = "PATIENT_IN_TEST"
    COPIES_DISAGREE = "COPIES_DISAGREE"
    ALIKE_DISAGREE = "ALIKE_DISAGREE"
    MOVED_TO_VALIDATION = "MOVED_TO_VALIDATION"
    SMALL_CLASS = "SMALL_CLASS"
    CONSTANT_IMAGE = "CONSTANT_IMAGE"
    DARK_IMAGES = "DARK_IMAGES"
    COPY = "COPY"
    ALIKE = "ALIKE"
    LEFT_OUT = "LEFT_OUT"

    @property
    def kind(self) -> Kind:
        """What the code stands for."""
        return KINDS[self]


_LEAK = "The test would reward remembering it: take it out of training with --drop-leaks."
KINDS = {
    Code.UNREADABLE: Kind(Severity.ERROR, "Image cannot be read", "It was left out; restore the file, or remove it."),
    Code.MISSING: Kind(Severity.ERROR, "Image is not there", "It was left out; restore the file."),
    Code.COPY_IN_TEST: Kind(Severity.ERROR, "Copies of a test image in training", _LEAK),
    Code.ALIKE_IN_TEST: Kind(Severity.ERROR, "Near copies of a test image in training", _LEAK),
    Code.PATIENT_IN_TEST: Kind(Severity.ERROR, "A patient of the test images in training, too", _LEAK),
    Code.COPIES_DISAGREE: Kind(
        Severity.ERROR, "Copies of one image with different labels", "Find out which is right, and remove the others."
    ),
    Code.ALIKE_DISAGREE: Kind(
        Severity.WARNING, "Near copies with different labels", "Look at them: one of the labels may be wrong."
    ),
    Code.MOVED_TO_VALIDATION: Kind(
        Severity.WARNING,
        "Training images that belong to validation images",
        "They are copies, or of the same patient, and were put into the validation fold with them.",
    ),
    Code.SMALL_CLASS: Kind(
        Severity.WARNING, "Class in fewer groups of images than folds", "Some folds have none of it: gather more."
    ),
    Code.CONSTANT_IMAGE: Kind(Severity.WARNING, "Image is empty: all pixels have one value", "Look at it; remove it."),
    Code.DARK_IMAGES: Kind(
        Severity.WARNING,
        "Images that use the darkest quarter of their scale alone, as 12 bits in files of 16 do",
        "Train with --intensity percentiles.",
    ),
    Code.COPY: Kind(Severity.NOTE, "Copies of one image", "They are in one fold; remove all but one to weigh it once."),
    Code.ALIKE: Kind(Severity.NOTE, "Near copies", "They are in one fold; look whether they are the same picture."),
    Code.LEFT_OUT: Kind(Severity.NOTE, "Left out", "Nothing, if that is what you meant."),
}


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    images
        Names of the images concerned, relative to the input.
    found
        What was found, for people.
    """

    code: Code
    found: str
    images: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[int, int, tuple[str, ...]]:
        """Worst first, then by code and image."""
        return (self.code.kind.severity.rank, list(Code).index(self.code), self.images)
