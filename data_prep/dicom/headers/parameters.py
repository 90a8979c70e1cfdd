"""The white list of header values that may go into a sidecar, and the series description, which is cleaned first."""

from __future__ import annotations

import functools
import math
import re

from data_prep.dicom.headers.elements import Elements

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

TAGS = (*TEXTS, *NUMBERS, *PULSES)

SEVERAL = {"ImageType", "ScanningSequence", "SequenceVariant", "ScanOptions"}

IDENTIFYING = (
    0x00080050,  # AccessionNumber
    0x00080080,  # InstitutionName
    0x00080090,  # ReferringPhysicianName
    0x00081048,  # PhysiciansOfRecord
    0x00081050,  # PerformingPhysicianName
    0x00081070,  # OperatorsName
    0x00100010,  # PatientName
    0x00100020,  # PatientID
    0x00100030,  # PatientBirthDate
    0x00101000,  # OtherPatientIDs
    0x00101001,  # OtherPatientNames
    0x00200010,  # StudyID
)
"""These elements are read only to remove their words from the series description."""

_UNSAFE = re.compile(r"[^\w .,;:+*/()\[\]<>=%#&@-]", re.ASCII)
_MAX_LENGTH = 64

_SEQUENCE_WORDS = (
    "sag sagittal cor coronal tra trans transverse axial obl oblique spine lumbar lspine thoracic cervical head brain "
    "stir flair tse fse tirm dixon space vibe vista cube haste spgr mprage epi dwi dti adc asl fmri swi tof loc spin "
    "echo grad fast turbo fat sat water inphase opp phase mag map field post pre gad contrast localizer scout survey "
    "the and with"
)
_VOCABULARY = frozenset(_SEQUENCE_WORDS.split())
"""Words that name sequences. They stay in a description even if an identifying element also holds them."""


def collect(elements: Elements) -> tuple[tuple[str, object], ...]:
    """The white-listed parameters of one file, by DICOM keyword. Files with equal parameters share one object."""
    return _decoded(tuple(elements.data(tag) for tag in TAGS))


@functools.lru_cache(maxsize=256)
def _decoded(values: tuple[bytes, ...]) -> tuple[tuple[str, object], ...]:
    parameters: dict[str, object] = {}
    pulses: list[str] = []
    for tag, value in zip(TAGS, values, strict=True):
        parts = [part for part in map(_clean, value.decode("latin-1").split("\\")) if part]
        if not parts:
            continue
        if tag in PULSES:
            pulses += PULSES[tag].get(parts[0], "").split()
        elif tag in TEXTS:
            parameters[TEXTS[tag]] = tuple(parts) if TEXTS[tag] in SEVERAL else parts[0]
        elif (number := _number(parts[0])) is not None:
            parameters[NUMBERS[tag]] = number
    if pulses:
        parameters.setdefault("ScanningSequence", tuple(pulses))
    return tuple(sorted(parameters.items()))


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
    """SeriesDescription, which people type freely, without any word of the header's identifying elements."""
    value = elements.data(0x0008103E)
    if not value:
        return ""
    identity = tuple(elements.data(tag) for tag in IDENTIFYING)
    return _described(value, elements.texts(0x00080005), identity)


@functools.lru_cache(maxsize=256)
def _described(value: bytes, character_sets: tuple[str, ...], identity: tuple[bytes, ...]) -> str:
    from pydicom.charset import convert_encodings, decode_bytes

    decoded = decode_bytes(value, convert_encodings(list(character_sets) or ""), set(b"\\\r\n"))
    text = _clean(_printable(decoded))
    words = {word for part in identity for word in _words(part)}
    for word in sorted(words, key=len, reverse=True):
        escaped = re.escape(word)
        # a short word may be part of another word by chance, so it must stand alone; a long one is removed anywhere
        pattern = escaped if len(word) >= 5 else rf"(?<![^\W_]){escaped}(?![^\W_])"
        text = re.sub(pattern, "", text, flags=re.IGNORECASE)
    return " ".join(text.split())


def _printable(text: str) -> str:
    """The text in ASCII, letters without their accents, so that every program can read the tables."""
    import unicodedata

    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def _words(value: bytes) -> list[str]:
    """Words of an identifying value that are long enough to identify somebody."""
    words = re.split(r"[\s^=\\,;/\0_]+", value.decode("latin-1"))
    return [word for word in words if len(word) >= 3 and word.lower() not in _VOCABULARY]
