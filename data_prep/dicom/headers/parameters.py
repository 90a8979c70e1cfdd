"""The white list of header values that may go into a sidecar, and the series description.

Every text of them is cleaned by `data_prep.dicom.headers.identity` first.
"""

from __future__ import annotations

import functools
import math
import re

from data_prep.dicom.headers.elements import Elements
from data_prep.dicom.headers.identity import Identifier, decoded, identifiers, printable, without_dates
from monai_spine.data.series_typing import has_agent

TEXTS: dict[int, str] = {
    0x00080008: "ImageType",
    0x00080060: "Modality",
    0x00080070: "Manufacturer",
    0x00081090: "ManufacturerModelName",
    0x00180015: "BodyPartExamined",
    0x00180020: "ScanningSequence",
    0x00180021: "SequenceVariant",
    0x00180022: "ScanOptions",
    0x00180023: "MRAcquisitionType",
    0x00180024: "SequenceName",
    0x00180025: "AngioFlag",
    0x00180085: "ImagedNucleus",
    0x00181210: "ConvolutionKernel",
    0x00181312: "InPlanePhaseEncodingDirection",
    0x00185100: "PatientPosition",
}
"""Text elements, by tag. Those in `SEVERAL` may hold more than one value."""

NUMBERS: dict[int, str] = {
    0x00180050: "SliceThickness",
    0x00180060: "KVP",
    0x00180080: "RepetitionTime",
    0x00180081: "EchoTime",
    0x00180082: "InversionTime",
    0x00180083: "NumberOfAverages",
    0x00180084: "ImagingFrequency",
    0x00180086: "EchoNumbers",
    0x00180087: "MagneticFieldStrength",
    0x00180088: "SpacingBetweenSlices",
    0x00180089: "NumberOfPhaseEncodingSteps",
    0x00180091: "EchoTrainLength",
    0x00180093: "PercentSampling",
    0x00180094: "PercentPhaseFieldOfView",
    0x00180095: "PixelBandwidth",
    0x00181314: "FlipAngle",
}
"""Decimal and integer strings, by tag."""

PULSES: dict[int, dict[str, str]] = {
    0x00189008: {"SPIN": "SE", "GRADIENT": "GR", "BOTH": "SE GR"},  # EchoPulseSequence
    0x00189009: {"YES": "IR"},  # InversionRecovery
    0x00189018: {"YES": "EP"},  # EchoPlanarPulseSequence
}
"""Attributes of enhanced objects, and the ScanningSequence codes with the same meaning."""

AGENT = 0x00180010
"""ContrastBolusAgent, which goes into sidecars as ``YES`` or ``NO`` only: people type names and doses into it."""

TAGS = (*TEXTS, *NUMBERS, *PULSES, AGENT)

SEVERAL = {"ImageType", "ScanningSequence", "SequenceVariant", "ScanOptions"}

_DEFINED_TERMS = (
    "HFS HFP HFDR HFDL FFS FFP FFDR FFDL ROW COL OTHER 2D 3D MR CT SE IR GR EP RM SK MTC SS TRSS SP MP OSP NONE "
    "ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER MOSAIC NORM DIS2D DIS3D MAGNITUDE PHASE REAL IMAGINARY MIXED "
    "SPINE LSPINE TSPINE CSPINE 1H"
)
_CODES = frozenset(_DEFINED_TERMS.split())
"""Values that DICOM defines for coded elements. They name nobody, whatever a patient is called."""
_UNSAFE = re.compile(r"[^\w .,;:+*/()\[\]<>=%#&@-]", re.ASCII)
_MAX_LENGTH = 64


def collect(elements: Elements) -> tuple[tuple[str, object], ...]:
    """The white-listed parameters of one file, by DICOM keyword. Files with equal parameters share one object."""
    values = tuple(elements.data(tag) for tag in TAGS)
    return _collected(values, elements.texts(0x00080005), identifiers(elements))


@functools.lru_cache(maxsize=256)
def _collected(
    values: tuple[bytes, ...], character_sets: tuple[str, ...], identity: Identifier
) -> tuple[tuple[str, object], ...]:
    parameters: dict[str, object] = {}
    pulses: list[str] = []
    for tag, value in zip(TAGS, values, strict=True):
        if tag in TEXTS:
            texts = [text for part in decoded(value, character_sets).split("\\") if (text := _text(part, identity))]
            if texts:
                parameters[TEXTS[tag]] = tuple(texts) if TEXTS[tag] in SEVERAL else texts[0]
            continue
        parts = [part for part in map(_clean, value.decode("latin-1").split("\\")) if part]
        if not parts:
            continue
        if tag == AGENT:
            parameters["ContrastBolusAgent"] = "YES" if has_agent(parts[0]) else "NO"
        elif tag in PULSES:
            pulses += PULSES[tag].get(parts[0], "").split()
        elif (number := _number(parts[0])) is not None:
            parameters[NUMBERS[tag]] = number
    if pulses:
        parameters.setdefault("ScanningSequence", tuple(pulses))
    return tuple(sorted(parameters.items()))


def _text(value: str, identity: Identifier) -> str:
    """A value of a text element that names nobody: in ASCII, without dates and identifying words, and only then cut."""
    plain = printable(value).strip(" \0\r\n\t")
    # Struck before it is cut to its greatest length: half a name at the end would not be found.
    return plain if plain in _CODES else _clean(identity.strike(without_dates(plain)))


def _number(text: str) -> float | int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value) or abs(value) > 1e12:
        return None
    return int(value) if value.is_integer() else value


def _clean(text: str) -> str:
    return _UNSAFE.sub("", text.strip(" \0\r\n\t"))[:_MAX_LENGTH].strip()


def description(elements: Elements) -> str:
    """SeriesDescription, which people type freely, without any date or word of the header's identifying elements."""
    value = elements.data(0x0008103E)
    return _described(value, elements.texts(0x00080005), identifiers(elements)) if value else ""


@functools.lru_cache(maxsize=256)
def _described(value: bytes, character_sets: tuple[str, ...], identity: Identifier) -> str:
    return " ".join(_text(decoded(value, character_sets), identity).split())
