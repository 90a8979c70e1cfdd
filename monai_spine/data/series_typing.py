"""Telling a volume's series type: the plane from its geometry, the weighting from description and sequence timing.

Two witnesses speak of the weighting: words of the description (or of a file's name), and repetition, echo and inversion
time. The type is told where they agree or one of them is silent. Where they contradict each other, or both are silent,
it is not: `SeriesVerdict.kind` is None, and the reason says why.
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
"""T1 weighting of a spin echo: repetition and echo both short (typically 400-800 and 8-20 ms against 2500+ and 80+)."""
STIR_TI_MS = (80.0, 300.0)
"""Inversion times that null fat at .3 to 3 T."""
T1_FLAIR_TI_MS = (600.0, 1300.0)
"""Inversion times that null the fluid at a repetition of some 2 s, as T1 FLAIR does."""

_WORDS = re.compile(r"(?<![a-z0-9])(t1|t2|stir|tirm|pd)(?![0-9])", re.IGNORECASE)
_WEIGHTING_OF_WORD = {"t1": "T1", "t2": "T2", "stir": "T2", "tirm": "T2", "pd": "PD"}
_OTHER_CONTRAST = re.compile(
    r"dixon|diff|dwi|adc|myelo|phase|scout|local|survey|sub\b(?!-)|t2\s*\*|t2[ _-]?star|medic\b|merge\b", re.IGNORECASE
)
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


class Confidence(str, Enum):
    """How a series type is known."""

    GIVEN = "given"
    """Somebody said so."""
    HIGH = "high"
    """Description and timing say the same."""
    MEDIUM = "medium"
    """One of them does, the other is silent; or the description names another plane than the slices have."""
    NONE = "none"
    """It is not known."""


@dataclass(frozen=True)
class SeriesVerdict:
    """What a series is.

    Attributes
    ----------
    kind
        None where it is none of the three, or cannot be told.
    reason
        For people; no value of the header but numbers and sequence words is quoted in it.
    other
        It is known to be none of the three: a coronal or post-contrast series, a scout.
    """

    kind: SeriesType | None
    confidence: Confidence
    reason: str
    other: bool = False


@dataclass(frozen=True)
class _Witness:
    """What one source says of the weighting: ``T1``, ``T2``, ``PD`` or None; ``other`` if it says something else."""

    weighting: str | None
    says: str
    other: bool = False


def tell_series_type(header: Mapping[str, Any], plane: Plane) -> SeriesVerdict:
    """The series type that a header and the slices' plane speak for.

    Parameters
    ----------
    header
        Values by DICOM keyword: SeriesDescription, RepetitionTime, EchoTime, InversionTime (ms), ScanningSequence.
        Any may be absent.
    plane
        From the volume's affine; what the description says of the plane is not believed.
    """
    words, timing = _from_words(str(header.get("SeriesDescription", ""))), _from_timing(header)
    said = ", ".join(witness.says for witness in (words, timing) if witness.says)
    contrary = next((witness for witness in (words, timing) if witness.other), None)
    if contrary is not None:
        return _other(f"{contrary.says}: none of the three series types")
    if plane is Plane.CORONAL:
        return _other("coronal slices: none of the three series types")
    named = {witness.weighting for witness in (words, timing) if witness.weighting}
    if not named:
        return _untold(said or "neither a description nor repetition and echo times tell the weighting")
    if len(named) > 1:
        return _untold(f"contradiction: {said}")
    (weighting,) = named
    kind = _TYPES.get((plane, weighting))
    if kind is None:
        return _other(f"{plane.value} {weighting} is none of the three series types ({said})")
    both = words.weighting == timing.weighting
    odd = _other_plane(str(header.get("SeriesDescription", "")), plane)
    confidence = Confidence.HIGH if both and not odd else Confidence.MEDIUM
    return SeriesVerdict(kind, confidence, f"{plane.value} slices{odd}, {said}")


def _untold(reason: str) -> SeriesVerdict:
    return SeriesVerdict(None, Confidence.NONE, reason)


def _other(reason: str) -> SeriesVerdict:
    return SeriesVerdict(None, Confidence.NONE, reason, other=True)


def _from_words(text: str) -> _Witness:
    other = _OTHER_CONTRAST.search(text)
    if other:
        return _Witness(None, f"description says {other.group().lower()}", other=True)
    found = list(dict.fromkeys(word.upper() for word in _WORDS.findall(text)))
    weightings = {_WEIGHTING_OF_WORD[word.lower()] for word in found}
    says = f"description says {' and '.join(found)}" if found else ""
    if weightings == {"T1"} and _AGENT.search(text):
        return _Witness(None, "description says T1 with a contrast agent", other=True)
    return _Witness(weightings.pop() if len(weightings) == 1 else None, says)


def _from_timing(header: Mapping[str, Any]) -> _Witness:
    repetition, echo = _number(header.get("RepetitionTime")), _number(header.get("EchoTime"))
    inversion = _number(header.get("InversionTime"))
    if repetition is None or echo is None:
        return _Witness(None, "")
    says = f"TR {repetition:g} TE {echo:g}" + (f" TI {inversion:g}" if inversion else "") + " ms"
    long_repetition, long_echo = repetition >= SHORT_TR_MS, echo >= SHORT_TE_MS
    if inversion and STIR_TI_MS[0] <= inversion <= STIR_TI_MS[1] and long_repetition:
        return _Witness("T2", f"{says} say STIR")
    if inversion and T1_FLAIR_TI_MS[0] <= inversion <= T1_FLAIR_TI_MS[1] and long_repetition and not long_echo:
        return _Witness("T1", f"{says} say T1 FLAIR")
    if _is_gradient_echo(header):
        return _Witness(None, f"{says}, a gradient echo", other=long_repetition or long_echo)
    if long_repetition != long_echo:
        return _Witness(None, f"{says} say neither T1 nor T2")
    weighting = "T2" if long_echo else "T1"
    return _Witness(weighting, f"{says} say {weighting}")


def _is_gradient_echo(header: Mapping[str, Any]) -> bool:
    codes = header.get("ScanningSequence") or ()
    return {"GR"} <= set([codes] if isinstance(codes, str) else codes) and "SE" not in codes


def _other_plane(text: str, plane: Plane) -> str:
    named = [other for other, pattern in _PLANE_WORDS.items() if pattern.search(text)]
    return f" (description says {named[0].value})" if named and plane not in named else ""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
