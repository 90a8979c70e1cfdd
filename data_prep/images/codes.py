"""What can be wrong with a set of single images: the codes of ``report.json``, in the order of the report."""

from enum import unique

from data_prep.faults import FaultCode, error, note, warning

_LEAK = "The test would reward remembering it: take it out of training with --drop-leaks."


@unique
class Code(FaultCode):
    """Stable codes: extended, never renamed."""

    UNREADABLE = error("Image cannot be read", "It was left out; restore the file, or remove it.")
    MISSING = error("Image is not there", "It was left out; restore the file.")
    COPY_IN_TEST = error("Copies of a test image in training", _LEAK)
    ALIKE_IN_TEST = error("Near copies of a test image in training", _LEAK)
    PATIENT_IN_TEST = error("A patient of the test images in training, too", _LEAK)
    COPIES_DISAGREE = error(
        "Copies of one image with different labels", "Find out which is right, and remove the others."
    )
    ALIKE_DISAGREE = warning("Near copies with different labels", "Look at them: one of the labels may be wrong.")
    MOVED_TO_VALIDATION = warning(
        "Training images that belong to validation images",
        "They are copies, or of the same patient, and were put into the validation fold with them.",
    )
    SMALL_CLASS = warning("Class in fewer groups of images than folds", "Some folds have none of it: gather more.")
    CONSTANT_IMAGE = warning("Image is empty: all pixels have one value", "Look at it; remove it.")
    DARK_IMAGES = warning(
        "Images that use the darkest quarter of their scale alone, as 12 bits in files of 16 do",
        "Train with --form#intensity percentiles.",
    )
    COPY = note("Copies of one image", "They are in one fold; remove all but one to weigh it once.")
    ALIKE = note("Near copies", "They are in one fold; look whether they are the same picture.")
    LEFT_OUT = note("Left out", "Nothing, if that is what you meant.")
