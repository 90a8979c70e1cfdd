"""What can be wrong with a study of a collection: it is reported, and never ends the run."""

from enum import unique

from data_prep.faults import FaultCode, warning


@unique
class Code(FaultCode):
    """Stable codes of ``quality.csv``: extended, never renamed. Collections do not rank them: all are warnings."""

    STUDY_FAILED = warning("the study could not be processed; it is left out of the datalist")
    NO_VOLUME = warning("none of the study's series became a volume; the study is left out of the datalist")
    NO_SERIES_TYPE = warning("the study has no volume of a series type; the datalist leaves the type out")
    NO_IMAGES = warning("a series of the tables has no DICOM file")
    NO_COVER = warning("no plane of the series type that shows this finding comes near enough to its point")
    UNKNOWN_SERIES = warning("a series folder that no table gives a type; left out of the datalist")
    UNKNOWN_STUDY = warning("a study that the table of studies does not know; left out")
    STRAY_FILES = warning("files outside of <study>/<series>/; not read")
    REFUSED_STACK = warning("the converter refused images; manifest.csv or series.csv says why")
    REFUSED_FILE = warning("files that could not be read")
    FOUR_DIMENSIONAL = warning("a volume over time, which no series type expects; left out of the datalist")
    TYPE_UNKNOWN = warning("a series whose type is not given and cannot be derived for sure; left out: give it")
    TYPE_CONTRADICTED = warning("a series whose slices cannot be of the type that was given; left out")
    IN_BOTH_SECTIONS = warning("the patient also has a labelled study; do not judge a model by this one")
    NO_POINT = warning("a label without a point")
    NO_LABEL = warning("a point without a label; the point is kept")
    NO_SLICE = warning("a point on a slice that is not there, or has no position; the point is lost")
    SECOND_POINT = warning("a second point of one finding; the first is kept")
    WRONG_SERIES_TYPE = warning("a point on a series of another type than its condition's; kept")
    OUTSIDE_IMAGE = warning("a point outside of its image; kept")
    NOT_IN_VOLUME = warning("a point on a slice that the converter left out; kept, its header gives the position")
    ROUND_TRIP = warning("a point that does not come back to its pixel through the volume; the point is lost")
    SIDES_SWAPPED = warning("a left point that lies to the right of its right one; kept, look at it")
    LEVELS_OUT_OF_ORDER = warning("points of a condition that do not run downwards from L1/L2; kept, look at them")
    OFF_LEVEL = warning("a point far above or below the other points of its level; kept, look at it")
