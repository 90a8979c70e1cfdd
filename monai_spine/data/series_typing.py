"""The series type of a volume: its plane from geometry, its weighting from the description and the sequence timing.

Used where studies come in without a list of their series (`studies`, and the study tables of `data_prep`). Two sources
give the weighting: words of the description (or of the file's name), and repetition, echo and inversion time. The type
is known if they agree, or if one of them gives nothing. If they contradict each other, or both give nothing,
`SeriesVerdict.series_type` is None and the reason says why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

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

# A digit must not follow ("t10"), a letter may ("T1w"); a letter or digit must not come before ("st1", "2t1").
_WORDS = re.compile(r"(?<![a-z0-9])(t1|t2|stir|tirm|pd)(?![0-9])", re.IGNORECASE)
_WEIGHTING_OF_WORD = {"t1": "T1", "t2": "T2", "stir": "T2", "tirm": "T2", "pd": "PD"}
# "sub" means a subtraction of two series, but "sub-01" is a subject of a BIDS data set. T2* and MEDIC or MERGE are
# gradient echoes, whose contrast is not that of a T2-weighted spin echo.
_OTHER_CONTRAST = re.compile(
    r"dixon|diff|dwi|adc|myelo|phase|scout|local|survey|sub\b(?!-)|t2\s*\*|t2[ _-]?star|medic\b|merge\b", re.IGNORECASE
)
# A contrast agent brightens tissue on T1 only; radiologists abbreviate it as "+C", "post", "Gd", "CE" or "KM" (German).
_AGENT = re.compile(r"\+\s*c\b|(?<![a-z])(post|gad|gd|ce|km|contrast)", re.IGNORECASE)
_PLANE_WORDS = {
    Plane.SAGITTAL: re.compile(r"(?<![a-z])sag", re.IGNORECASE),
    Plane.CORONAL: re.compile(r"(?<![a-z])cor", re.IGNORECASE),
    Plane.AXIAL: re.compile(r"(?<![a-z])(ax|tra)", re.IGNORECASE),
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
    """What a series shows.

    Attributes
    ----------
    series_type
        None if it is none of the three types, or unknown.
    reason
        A sentence for people. It quotes only numbers and sequence words of the header, since a free description may
        hold a patient's name.
    other
        Whether it is known to be none of the three types: a coronal or post-contrast series, a scout.
    """

    series_type: SeriesType | None
    confidence: Confidence
    reason: str
    other: bool = False


@dataclass(frozen=True)
class _Evidence:
    """What one source gives: the weighting ``T1``, ``T2``, ``PD`` or None, and whether it is another contrast."""

    weighting: str | None
    quote: str
    other: bool = False


def series_type_of(header: Mapping[str, Any], plane: Plane) -> SeriesVerdict:
    """The series type of a volume with a header and a plane.

    Parameters
    ----------
    header
        Values by DICOM keyword: SeriesDescription, RepetitionTime, EchoTime, InversionTime (ms), ScanningSequence.
        Any may be absent.
    plane
        From the volume's affine. The plane that the description names is not trusted.
    """
    description = str(header.get("SeriesDescription", ""))
    words, timing = _from_words(description), _from_timing(header)
    quotes = ", ".join(source.quote for source in (words, timing) if source.quote)
    other = next((source for source in (words, timing) if source.other), None)
    if other is not None:
        return _other(f"{other.quote}: none of the three series types")
    if plane is Plane.CORONAL:
        return _other("coronal slices: none of the three series types")
    weightings = {source.weighting for source in (words, timing) if source.weighting}
    if not weightings:
        return _unknown(quotes or "neither a description nor repetition and echo times tell the weighting")
    if len(weightings) > 1:
        return _unknown(f"contradiction: {quotes}")
    (weighting,) = weightings
    series_type = _TYPES.get((plane, weighting))
    if series_type is None:
        return _other(f"{plane.value} {weighting} is none of the three series types ({quotes})")
    agree = words.weighting == timing.weighting
    other_plane = _other_plane(description, plane)
    confidence = Confidence.HIGH if agree and not other_plane else Confidence.MEDIUM
    return SeriesVerdict(series_type, confidence, f"{plane.value} slices{other_plane}, {quotes}")


def _unknown(reason: str) -> SeriesVerdict:
    return SeriesVerdict(None, Confidence.NONE, reason)


def _other(reason: str) -> SeriesVerdict:
    return SeriesVerdict(None, Confidence.NONE, reason, other=True)


def _from_words(text: str) -> _Evidence:
    other = _OTHER_CONTRAST.search(text)
    if other:
        return _Evidence(None, f"description says {other.group().lower()}", other=True)
    words = list(dict.fromkeys(word.upper() for word in _WORDS.findall(text)))
    weightings = {_WEIGHTING_OF_WORD[word.lower()] for word in words}
    quote = f"description says {' and '.join(words)}" if words else ""
    if weightings == {"T1"} and _AGENT.search(text):
        return _Evidence(None, "description says T1 with a contrast agent", other=True)
    return _Evidence(weightings.pop() if len(weightings) == 1 else None, quote)


def _from_timing(header: Mapping[str, Any]) -> _Evidence:
    repetition, echo = _number(header.get("RepetitionTime")), _number(header.get("EchoTime"))
    inversion = _number(header.get("InversionTime"))
    if repetition is None or echo is None:
        return _Evidence(None, "")
    quote = f"TR {repetition:g} TE {echo:g}" + (f" TI {inversion:g}" if inversion else "") + " ms"
    long_repetition, long_echo = repetition >= SHORT_TR_MS, echo >= SHORT_TE_MS
    # Inversion comes first: STIR may have a short echo and T1 FLAIR has a long repetition, so the rule of spin echoes
    # below would take both for neither T1 nor T2.
    if inversion and STIR_TI_MS[0] <= inversion <= STIR_TI_MS[1] and long_repetition:
        return _Evidence("T2", f"{quote} say STIR")
    if inversion and T1_FLAIR_TI_MS[0] <= inversion <= T1_FLAIR_TI_MS[1] and long_repetition and not long_echo:
        return _Evidence("T1", f"{quote} say T1 FLAIR")
    # Short times of a gradient echo do not mean T1 weighting, which depends on its flip angle too.
    if _is_gradient_echo(header):
        return _Evidence(None, f"{quote}, a gradient echo", other=long_repetition or long_echo)
    if long_repetition != long_echo:
        return _Evidence(None, f"{quote} say neither T1 nor T2")
    weighting = "T2" if long_echo else "T1"
    return _Evidence(weighting, f"{quote} say {weighting}")


def _is_gradient_echo(header: Mapping[str, Any]) -> bool:
    codes = header.get("ScanningSequence") or ()
    return {"GR"} <= set([codes] if isinstance(codes, str) else codes) and "SE" not in codes


def _other_plane(text: str, plane: Plane) -> str:
    named = [other for other, pattern in _PLANE_WORDS.items() if pattern.search(text)]
    return f" (description says {named[0].value})" if named and plane not in named else ""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
