"""Codes of the structured report: public ones where there are any, else those of a private scheme.

No public code was found for foraminal narrowing, subarticular stenosis and their sites (SCT 280734009 is the
*vertebral* foramen), nor for the competition's grade "normal/mild", which is neither mild nor none.
"""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept, FindingSite
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from monai_spine.spine import Finding, Grade, Group, Level, Side

SCHEME = "99MONAISPINE"
SCHEME_UID = "2.25.190713527358114906519325104937042817391"


def shared(code: Code) -> CodedConcept:
    """A code as a concept that all objects share: to make each of a thousand anew took a fifth of a report."""
    return CodedConcept(code.value, code.scheme_designator, code.meaning)


def _code(value: str, scheme: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, scheme, meaning)


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, SCHEME, meaning)


PROCEDURE = _code("24968-0", "LN", "MR Lumbar spine")
"""LOINC, which does not say whether contrast was given."""

FINDING_TYPES = {
    Group.SPINAL: _code("76107001", "SCT", "Spinal stenosis"),
    Group.FORAMINAL: _own("FORAMINAL", "Lumbar neural foraminal narrowing"),
    Group.SUBARTICULAR: _own("SUBARTICULAR", "Lumbar subarticular stenosis"),
}
DISCS = {
    Level.L1_L2: _code("80064006", "SCT", "L1/L2 disc"),
    Level.L2_L3: _code("67459009", "SCT", "L2/L3 disc"),
    Level.L3_L4: _code("62551000", "SCT", "L3/L4 disc"),
    Level.L4_L5: _code("84020006", "SCT", "L4/L5 disc"),
    Level.L5_S1: _code("715056000", "SCT", "L5/S1 disc"),
}
SITES = {
    Group.SPINAL: _code("61853006", "SCT", "Vertebral canal"),
    Group.FORAMINAL: _own("FORAMEN", "Lumbar neural foramen"),
    Group.SUBARTICULAR: _own("RECESS", "Lumbar subarticular zone"),
}
SIDES = {Side.LEFT: _code("7771000", "SCT", "Left"), Side.RIGHT: _code("24028007", "SCT", "Right")}
SEVERITY = _code("246112005", "SCT", "Severity")
GRADES = {
    Grade.NORMAL_MILD: _own("NORMAL_MILD", "Normal or mild"),
    Grade.MODERATE: _code("6736007", "SCT", "Moderate"),
    Grade.SEVERE: _code("24484000", "SCT", "Severe"),
}
PROBABILITY = shared(codes.DCM.Probability)
"""Of the reported grade."""
PROBABILITIES = {
    Grade.NORMAL_MILD: _own("P_NORMAL_MILD", "Probability of normal or mild"),
    Grade.MODERATE: _own("P_MODERATE", "Probability of moderate"),
    Grade.SEVERE: _own("P_SEVERE", "Probability of severe"),
}
COVERAGE = _own("COVERAGE", "Shown by an image")
NOT_SHOWN = _own("NOT_SHOWN", "No image shows the finding")
POINT = shared(codes.DCM.Center)
"""The finding's point in the patient, beside its projection onto the image."""


MILLIMETRE, SQUARE_MILLIMETRE, DEGREE, NO_UNITS, PERCENT = map(
    shared,
    (codes.UCUM.Millimeter, codes.UCUM.SquareMillimeter, codes.UCUM.Degree, codes.UCUM.NoUnits, codes.UCUM.Percent),
)
MINIMUM = shared(codes.SCT.Minimum)
CANAL_MEASURES = {
    "canal_diameter_mm": (shared(codes.SCT.Diameter), MILLIMETRE, MINIMUM),
    "canal_share": (_own("CANAL_SHARE", "Share of the diameter between discs"), NO_UNITS, MINIMUM),
    "canal_area_mm2": (shared(codes.SCT.Area), SQUARE_MILLIMETRE, None),
}
"""By the names in ``findings.json``: concept, unit, and how the value was derived."""
DISC_MEASURES = {
    "disc_height_front_mm": (_own("DISC_HEIGHT_FRONT", "Disc height in front"), MILLIMETRE, None),
    "disc_height_middle_mm": (_own("DISC_HEIGHT_MIDDLE", "Disc height in the middle"), MILLIMETRE, None),
    "disc_height_back_mm": (_own("DISC_HEIGHT_BACK", "Disc height behind"), MILLIMETRE, None),
    "disc_wedge_deg": (_own("DISC_WEDGE", "Disc wedge"), DEGREE, None),
}
SPINE_MEASURES = {"lordosis_deg": (_own("LORDOSIS", "Lumbar lordosis from L1 to S1"), DEGREE, None)}
UPPER_UNCERTAINTY = _code("371886008", "SCT", "+, range of upper measurement uncertainty")
LOWER_UNCERTAINTY = _code("371885007", "SCT", "-, range of lower measurement uncertainty")
PERCENTILE = shared(codes.DCM.PercentileRankingOfMeasurement)
LUMBAR_SPINE = shared(codes.SCT.LumbarSpine)


def coding_schemes() -> list[CodingSchemeIdentificationItem]:
    """The identification of the private scheme; its codes are documented in ``docs/how-to/dicom-out.md``."""
    return [CodingSchemeIdentificationItem(SCHEME, "monai_spine codes", "1", None, SCHEME_UID, "monai_spine")]


def finding_sites(finding: Finding) -> list[FindingSite]:
    """The disc level, and the canal, foramen or recess with its side."""
    side = finding.condition.side
    place = FindingSite(SITES[finding.condition.group], SIDES[side] if side else None)
    return [FindingSite(DISCS[finding.level]), place]
