"""The words of a report: names of findings, and flags in plain words."""

from __future__ import annotations

from collections.abc import Iterable

from monai_spine.data.volume_names import WITHOUT_SPINE
from monai_spine.grading.evidence import NOT_COVERED, SUBSTITUTE
from monai_spine.grading.findings import UNLIKE_MEASURES, UNLIKE_TRAINING
from monai_spine.levels.marked import MARKED
from monai_spine.levels.recesses.planes import PROJECTED
from monai_spine.levels.sagittal.doubts import Flag
from monai_spine.levels.sagittal.points import NO_SPINE
from monai_spine.spine import Condition, Grade, Group, SeriesType

SHORT = {
    Condition.SPINAL_CANAL_STENOSIS: "Canal",
    Condition.LEFT_NEURAL_FORAMINAL_NARROWING: "Left foramen",
    Condition.RIGHT_NEURAL_FORAMINAL_NARROWING: "Right foramen",
    Condition.LEFT_SUBARTICULAR_STENOSIS: "Left subarticular",
    Condition.RIGHT_SUBARTICULAR_STENOSIS: "Right subarticular",
}
"""Short names of the conditions."""

FULL = {
    Group.SPINAL: "spinal canal stenosis",
    Group.FORAMINAL: "neural foraminal narrowing",
    Group.SUBARTICULAR: "subarticular stenosis",
}
"""What a condition is called without its side."""

GRADES = {Grade.NORMAL_MILD: "normal/mild", Grade.MODERATE: "moderate", Grade.SEVERE: "severe"}

_FLAGS = {
    NOT_COVERED: "No slice shows this finding. The grade is a guess from other images.",
    SUBSTITUTE: "Read in another series than usual, because the usual one does not show it.",
    WITHOUT_SPINE: "No lumbar spine was found in this series, or it is upside down: do not rely on this grade.",
    Flag.UNCERTAIN_LEVEL.value: "The names of the levels are uncertain: they may be one off. Count them.",
    Flag.ODD_SPACING.value: "The distance to the next level is unusual.",
    Flag.FAINT.value: "The program is not sure that this is the place.",
    Flag.SERIES_DIFFER.value: "Another series shows this place more than 6 mm away: the patient moved, or one is off.",
    Flag.MODELS_DIFFER.value: "Of several programs that find places, one puts this place more than 6 mm away.",
    MARKED: "A person marked or corrected this place.",
    Flag.INTERPOLATED.value: "The place was not found. It is estimated from the levels beside it.",
    PROJECTED: "The recess was not found in the axial slice. Its expected place was used.",
    Flag.UNVERIFIED_WEIGHTS.value: "Nobody has checked the model's weights: they may be damaged.",
    UNLIKE_MEASURES: "By its measured diameter alone, the canal would have a grade two steps away: look at the images.",
    UNLIKE_TRAINING: "The network has not learnt from images like these: do not rely on this grade.",
    **{f"missing_{series_type.value}": f"The study has no {series_type.title} series." for series_type in SeriesType},
}


def reader_words(grade: Grade, by: str) -> str:
    """A reader's grade, short."""
    return f"{by}: {GRADES[grade]}"


def refusal_in_words(reason: str) -> list[str]:
    """Why a study was not graded, in sentences for people: what is wrong, then the details, one a line."""
    first, *details = reason.split("; ")
    if first.startswith(NO_SPINE):
        sentence = "No lumbar spine was found in its sagittal images."
    elif first.startswith("expected a sagittal T1 or T2 series"):
        available = first.partition("but found ")[2]
        sentence = f"The levels are found in a sagittal T1 or T2 series, and the study has {available}."
    elif first.startswith("unexpected "):
        sentence, details = "The program failed in a way that was not foreseen. Please report it.", [first, *details]
    else:
        sentence = f"The reason: {first}."
    return [sentence, *details]


def flag_words(flag: str) -> str:
    """A flag in plain words; a flag that is not known here with spaces in place of underscores."""
    return _FLAGS.get(flag, flag.replace("_", " "))


def flags_in_words(flags: Iterable[str]) -> list[str]:
    """Flags in plain words, each once."""
    return list(dict.fromkeys(map(flag_words, flags)))


def percent(probability: float) -> str:
    """A probability as people read it: whole percent, and never a certainty that it does not have."""
    # The spaces are unbreakable.
    if 0 < probability < 0.01:
        return "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%"
    if 0.99 < probability < 1:
        return ">\N{NO-BREAK SPACE}99\N{NO-BREAK SPACE}%"
    return f"{100 * probability:.0f}\N{NO-BREAK SPACE}%"


def offset_words(millimetres: float, *, sagittal: bool) -> str:
    """Where a plane lies from a crop's middle, such as ``9 mm left`` or ``4.5 mm above``."""
    if not millimetres:
        return "middle"
    names = ("left", "right") if sagittal else ("below", "above")
    return f"{abs(millimetres):g} mm {names[millimetres > 0]}"
