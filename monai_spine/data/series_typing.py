"""The series type of a volume: its plane from geometry, its weighting from the description and the sequence timing.

Used where studies come in without a list of their series (`studies`, and the study tables of `data_prep`). Two sources
give the weighting: words of the description (or of the file's name, see `series_words`), and the header's sequence
codes and times. The type is known if they agree, or if one of them gives nothing. If they contradict each other, or
both give nothing, `SeriesVerdict.series_type` is None and the reason says why. The header alone decides two things,
whatever the words are: a gradient echo is not T2-weighted, and a contrast agent makes a T1 another contrast.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from monai_spine.data.series_words import Words, folded, words_of
from monai_spine.geometry import Plane
from monai_spine.spine import SeriesType

SHORT_TR_MS = 1100.0
SHORT_TE_MS = 40.0
"""Limits in ms below which repetition and echo time are short. A T1-weighted spin echo has both short (typically
400-800 and 8-20 ms), a T2-weighted one has both long (2500+ and 80+ ms)."""
STIR_TI_MS = (80.0, 300.0)
"""Inversion times in ms that null fat at 0.3 to 3 T."""
T1_FLAIR_TI_MS = (600.0, 1300.0)
"""Inversion times in ms that null fluid at a repetition time of about 2 s, as in T1 FLAIR."""

SHORTEST_SE_TR_MS = 100.0
"""A spin echo has a longer repetition time: its excitation, refocusing and readout alone take some 20 ms a slice."""
SMALLEST_SE_FLIP = 50.0
"""Degrees; spin echoes excite with about 90, and list that or their refocusing angle."""
LONGEST_PD_TE_MS = 30.0
"""With a long repetition time, an echo below this gives proton-density weighting, whatever the words are."""

_NO_AGENT = frozenset({"", "no", "none", "n", "n/a", "na", "0", "false", "without", "ohne", "sans", "sin", "keine"})
# Names of Siemens' sequences: fast low angle shot, steady-state precession, MEDIC, DESS, CISS.
_GRADIENT_SEQUENCE = re.compile(r"\*?(fl|tfl|fi|tfi|me|de|ci)[23]d")
_PLANE_WORDS = {
    Plane.SAGITTAL: re.compile(folded(r"(?<![a-z])sag|(?<!\w)саг|矢状|矢狀|시상")),
    # "cord" and "corpus" are anatomy.
    Plane.CORONAL: re.compile(
        folded(r"(?<![a-z])(cor|coro\w*|kor|koro\w*)(?![a-z])|(?<!\w)(?:корон|фронт|кор(?!\w))|冠状|冠狀|관상")
    ),
    Plane.AXIAL: re.compile(folded(r"(?<![a-z])(ax|tra|trv)|(?<!\w)(?:акс|попереч|транс)|轴|軸|横断|橫斷|横切|축상")),
}
_TYPES = {
    (Plane.SAGITTAL, "T1"): SeriesType.SAGITTAL_T1,
    (Plane.SAGITTAL, "T2"): SeriesType.SAGITTAL_T2,
    (Plane.AXIAL, "T2"): SeriesType.AXIAL_T2,
}
PLANES = {series_type: plane for (plane, _), series_type in _TYPES.items()}
"""The plane of each series type's slices."""


class Confidence(str, Enum):
    """How sure a series type is."""

    GIVEN = "given"
    """The user named it."""
    HIGH = "high"
    """Description and timing agree."""
    MEDIUM = "medium"
    """Only one of them gives the weighting, or the description names another plane than the slices have."""
    NONE = "none"
    """The type is unknown."""


@dataclass(frozen=True)
class SeriesVerdict:
    """What a series shows."""

    series_type: SeriesType | None
    """None if it is none of the three types, or unknown."""
    confidence: Confidence
    reason: str
    """A sentence for people. It quotes only numbers and sequence words of the header, since a free description may hold
    a patient's name."""
    other: bool = False
    """Whether it is known to be none of the three types: a coronal or post-contrast series, a scout."""


@dataclass(frozen=True)
class _Evidence:
    """What the sequence timing gives: the weighting ``T1``, ``T2`` or None, and whether it is another contrast."""

    weighting: str | None
    quote: str
    other: bool = False
    gradient_echo: bool = False


def series_type_of(header: Mapping[str, Any], plane: Plane) -> SeriesVerdict:
    """The series type of a volume with a header and a plane.

    Parameters
    ----------
    header
        Values by DICOM keyword: SeriesDescription, RepetitionTime, EchoTime, InversionTime (ms), FlipAngle (degrees),
        ScanningSequence, SequenceVariant, SequenceName, ContrastBolusAgent. Any may be absent.
    plane
        From the volume's affine. The plane that the description names is not trusted.
    """
    description = str(header.get("SeriesDescription", ""))
    words, timing = words_of(description), _from_timing(header)
    quotes = ", ".join(quote for quote in (words.quote, timing.quote) if quote)
    if contrast := _other_contrast(words, timing, plane):
        return _other(f"{contrast}: none of the three series types")
    weightings = {source.weighting for source in (words, timing) if source.weighting}
    if not weightings:
        return _unknown(quotes or "neither a description nor repetition and echo times tell the weighting")
    if len(weightings) > 1 or (weightings == {"T2"} and not words.inversion and _is_proton_density(header)):
        return _unknown(f"contradiction: {quotes}")
    (weighting,) = weightings
    if weighting == "T1" and (verdict := _verdict_on_agent(words, header)):
        return verdict
    series_type = _TYPES.get((plane, weighting))
    if series_type is None:
        return _other(f"{plane.value} {weighting} is none of the three series types ({quotes})")
    agree = words.weighting == timing.weighting
    other_plane = _other_plane(description, plane)
    confidence = Confidence.HIGH if agree and not other_plane else Confidence.MEDIUM
    return SeriesVerdict(series_type, confidence, f"{plane.value} slices{other_plane}, {quotes}")


def _other_contrast(words: Words, timing: _Evidence, plane: Plane) -> str:
    """Why a series is of none of the three types, whatever its weighting; empty if it may be of one."""
    if words.other:
        return f"description says {words.other}"
    if timing.other:
        return timing.quote
    if plane is Plane.CORONAL:
        return "coronal slices"
    # A T1 may be a gradient echo. The T2 weighting of one is T2*, which bone and flow darken.
    if words.gradient_echo and words.weighting != "T1":
        return "description says a gradient echo"
    if words.weighting == "T2" and timing.gradient_echo:
        return f"{words.quote}, {timing.quote}"
    return ""


def _verdict_on_agent(words: Words, header: Mapping[str, Any]) -> SeriesVerdict | None:
    """The verdict on a T1 for which words or header name a contrast agent; None where none was given."""
    in_header = has_agent(header.get("ContrastBolusAgent"))
    if (words.agent and words.native) or (in_header and words.native):
        return _unknown("contradiction: a T1 before and after a contrast agent")
    if words.agent:
        return _other("description says T1 with a contrast agent: none of the three series types")
    if in_header:
        return _other("T1, and ContrastBolusAgent says a contrast agent: none of the three series types")
    return None


def has_agent(value: Any) -> bool:
    """Whether a value of ContrastBolusAgent names a contrast agent; ``NONE`` and the like do not."""
    if isinstance(value, str):
        return value.strip().lower() not in _NO_AGENT
    return bool(value)


def _unknown(reason: str) -> SeriesVerdict:
    return SeriesVerdict(None, Confidence.NONE, reason)


def _other(reason: str) -> SeriesVerdict:
    return SeriesVerdict(None, Confidence.NONE, reason, other=True)


def _from_timing(header: Mapping[str, Any]) -> _Evidence:
    echo_planar, gradient_echo = "EP" in _codes(header, "ScanningSequence"), _is_gradient_echo(header)
    repetition, echo = _number(header.get("RepetitionTime")), _number(header.get("EchoTime"))
    inversion = _number(header.get("InversionTime"))
    if echo_planar or repetition is None or echo is None:
        quote = "echo planar" if echo_planar else "a gradient echo" if gradient_echo else ""
        return _Evidence(None, quote, other=echo_planar, gradient_echo=gradient_echo)
    quote = f"TR {repetition:g} TE {echo:g}" + (f" TI {inversion:g}" if inversion else "") + " ms"
    long_repetition, long_echo = repetition >= SHORT_TR_MS, echo >= SHORT_TE_MS
    # Inversion comes first: STIR may have a short echo and T1 FLAIR has a long repetition, so the rule of spin echoes
    # below would take both for neither T1 nor T2.
    if inversion and STIR_TI_MS[0] <= inversion <= STIR_TI_MS[1] and long_repetition:
        return _Evidence("T2", f"{quote} say STIR")
    if inversion and T1_FLAIR_TI_MS[0] <= inversion <= T1_FLAIR_TI_MS[1] and long_repetition and not long_echo:
        return _Evidence("T1", f"{quote} say T1 FLAIR")
    # Short times of a gradient echo do not mean T1 weighting, which depends on its flip angle too.
    if gradient_echo:
        return _Evidence(None, f"{quote}, a gradient echo", other=long_repetition or long_echo, gradient_echo=True)
    if long_repetition != long_echo:
        return _Evidence(None, f"{quote} say neither T1 nor T2")
    weighting = "T2" if long_echo else "T1"
    return _Evidence(weighting, f"{quote} say {weighting}")


def _is_gradient_echo(header: Mapping[str, Any]) -> bool:
    codes = _codes(header, "ScanningSequence")
    if "SE" in codes:
        return False
    if "GR" in codes:
        return True
    # Enhanced and anonymised headers may lack the code. No spin echo of a spine repeats within `SHORTEST_SE_TR_MS`, and
    # none has a flip angle below `SMALLEST_SE_FLIP` at a short repetition time.
    repetition, flip = _number(header.get("RepetitionTime")), _number(header.get("FlipAngle"))
    name = header.get("SequenceName")
    if isinstance(name, str) and _GRADIENT_SEQUENCE.match(name.lower()):
        return True
    if repetition is None or "IR" in codes:
        return False
    small_flip = flip is not None and 0 < flip < SMALLEST_SE_FLIP
    steady = "SS" in _codes(header, "SequenceVariant")
    return 0 < repetition < SHORTEST_SE_TR_MS or (repetition < SHORT_TR_MS and (small_flip or steady))


def _codes(header: Mapping[str, Any], keyword: str) -> set[str]:
    value = header.get(keyword) or ()
    texts = [value] if isinstance(value, str) else value
    return {code for text in texts for code in re.split(r"[\\_/ ,]+", str(text).upper())}


def _is_proton_density(header: Mapping[str, Any]) -> bool:
    """Whether a long repetition goes with an echo that is too short for T2, without an inversion."""
    repetition, echo = _number(header.get("RepetitionTime")), _number(header.get("EchoTime"))
    if repetition is None or echo is None or _number(header.get("InversionTime")):
        return False
    return repetition >= SHORT_TR_MS and 0 < echo < LONGEST_PD_TE_MS


def _other_plane(text: str, plane: Plane) -> str:
    named = planes_named(text)
    return f" (description says {named[0].value})" if named and plane not in named else ""


def planes_named(text: str) -> list[Plane]:
    """The planes that a description or a file's name mentions."""
    return [plane for plane, pattern in _PLANE_WORDS.items() if pattern.search(folded(text))]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
