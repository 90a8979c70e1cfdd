"""What can be wrong with a datalist of studies: the codes of ``check.json``, in the order of the report."""

from enum import unique

from data_prep.faults import FaultCode, error, note, warning

_CONVERT_AGAIN = "Convert the series again from its DICOM files, or take the volume out of the datalist."
_CHECK_POINT = "Look at the picture; correct the point, or remove it from the study's points."


@unique
class Code(FaultCode):
    """Stable codes: extended, never renamed."""

    BROKEN_ENTRY = error("Entry breaks the datalist's format", "Correct the entry; nothing else about it was checked.")
    STUDY_TWICE = error("Study stands in the datalist more than once", "Keep one of the entries.")
    PATIENT_IN_SEVERAL_FOLDS = error(
        "One patient in several folds",
        "Give all studies of a patient the same fold: a model would be judged on patients it was trained on.",
    )
    PATIENT_IN_BOTH_SECTIONS = error(
        "One patient in the training and in the test section", "Move all studies of the patient to one section."
    )
    IMAGE_OF_TWO_PATIENTS = error(
        "The same image under two patients",
        "Find out whose it is and remove the others; if the patients are one person, give them one patient_id.",
    )
    PATH_OUTSIDE = error(
        "Path leaves the datalist's folder",
        "Move the volume into the datalist's folder and name it relative to the datalist; it was not opened.",
    )
    VOLUME_MISSING = error("Volume is not there", "Restore the file, or take it out of the datalist.")
    VOLUME_UNREADABLE = error("Volume cannot be read", _CONVERT_AGAIN)
    VOLUME_TOO_LARGE = error("Volume is too large to read", _CONVERT_AGAIN)
    VOLUME_FAILED = error("Volume or study could not be checked", _CONVERT_AGAIN)
    NOT_3D = error("Volume is not three-dimensional", "Split it into 3-D volumes, or take it out.")
    NOT_FINITE = error("Voxels that are not a number, or infinite", _CONVERT_AGAIN)
    CONSTANT_IMAGE = error("Image is empty: all voxels have one value", _CONVERT_AGAIN)
    NO_AFFINE = error(
        "Volume does not say where it lies in the patient",
        "Its header has neither sform nor qform, so left and right are unknown. " + _CONVERT_AGAIN,
    )
    TWO_AFFINES = error(
        "sform and qform contradict each other",
        "Programs disagree on which to believe, and all commands here refuse it. Rewrite the header with one of them.",
    )
    AFFINE_SINGULAR = error("Affine has no volume", _CONVERT_AGAIN)
    AFFINE_SHEARED = error(
        "Affine is sheared", "Slices are shifted against each other. Resample the volume onto right angles."
    )
    WRONG_PLANE = error(
        "Plane contradicts the series type", "Put the volume under the series type that its slices show."
    )
    POINT_OUTSIDE = error("Point lies outside all volumes of its series type", _CHECK_POINT)
    SIDES_SWAPPED = error(
        "Left point lies to the right of the right one",
        "Look at the picture: exchange the two points and their labels, or correct the volume's affine.",
    )
    LEVELS_OUT_OF_ORDER = error(
        "Levels do not run downwards", "Look at the picture; correct the levels of the points or of the labels."
    )
    LEVELS_DISAGREE = warning(
        "Point lies at another height than the level's other points",
        "Look at the picture: is it at the right level, and is the label?",
    )
    LEVELS_TOO_CLOSE = warning("Neighbouring levels lie too close", _CHECK_POINT)
    LEVELS_TOO_FAR = warning("Neighbouring levels lie too far apart", _CHECK_POINT)
    IMAGES_ALIKE = warning(
        "Images of two patients that are nearly the same",
        "Compare the pictures: a copy, rescaled or denoised, must not stand under another patient.",
    )
    IMAGE_TWICE = warning("The same image twice for one patient", "Keep it once, under the right series type.")
    IMPLAUSIBLE_SIZE = warning(
        "Spacing or size is implausible for a lumbar study",
        "Check spacings and units, or whether it is a lumbar series.",
    )
    MIXED_FIELDS_OF_VIEW = warning(
        "Fields of view differ within a series type", "Check that all its volumes show what their series type says."
    )
    SERIES_APART = warning(
        "Series of a study do not overlap",
        "Check whether they are of one examination and share a frame of reference.",
    )
    OUTLIER = warning("Volume unlike the others", "Look whether it is what its series type says.")
    OUTSIDE_FINGERPRINT = warning(
        "Volume unlike the data set of the given fingerprint",
        "A model trained on that data set has seen nothing like it: judge its results with care.",
    )
    SERIES_MISSING = warning(
        "Series type is missing", "Its conditions must be graded from the other series, or left out."
    )
    NO_FOLD = warning("Study without a fold", "Give it a fold: cross-validation refuses a datalist without.")
    LABELS_MISSING = note("Labels are missing", "They are left out of loss and score.")
    LABEL_WITHOUT_POINT = note("Label without a point", "It serves for grading, not for locating.")
    POINT_WITHOUT_LABEL = note("Point without a label", "It serves for locating, not for grading.")
    LABEL_SHARES_DIFFER = note(
        "Grades are more or less common than in the given fingerprint",
        "Probabilities that were calibrated there will be off here.",
    )
