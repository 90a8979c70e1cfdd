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


def _own(value: str, meaning: str) -> Code:
    return Code(value, SCHEME, meaning)


PROCEDURE = Code("24968-0", "LN", "MR Lumbar spine")
"""LOINC, which does not say whether contrast was given."""

FINDING_TYPES = {
    Group.SPINAL: Code("76107001", "SCT", "Spinal stenosis"),
    Group.FORAMINAL: _own("FORAMINAL", "Lumbar neural foraminal narrowing"),
    Group.SUBARTICULAR: _own("SUBARTICULAR", "Lumbar subarticular stenosis"),
}
DISCS = {
    Level.L1_L2: Code("80064006", "SCT", "L1/L2 disc"),
    Level.L2_L3: Code("67459009", "SCT", "L2/L3 disc"),
    Level.L3_L4: Code("62551000", "SCT", "L3/L4 disc"),
    Level.L4_L5: Code("84020006", "SCT", "L4/L5 disc"),
    Level.L5_S1: Code("715056000", "SCT", "L5/S1 disc"),
}
SITES = {
    Group.SPINAL: Code("61853006", "SCT", "Vertebral canal"),
    Group.FORAMINAL: _own("FORAMEN", "Lumbar neural foramen"),
    Group.SUBARTICULAR: _own("RECESS", "Lumbar subarticular zone"),
}
SIDES = {Side.LEFT: Code("7771000", "SCT", "Left"), Side.RIGHT: Code("24028007", "SCT", "Right")}
SEVERITY = Code("246112005", "SCT", "Severity")
GRADES = {
    Grade.NORMAL_MILD: _own("NORMAL_MILD", "Normal or mild"),
    Grade.MODERATE: Code("6736007", "SCT", "Moderate"),
    Grade.SEVERE: Code("24484000", "SCT", "Severe"),
}
PROBABILITY = codes.DCM.Probability
"""Of the reported grade."""
PROBABILITIES = {
    Grade.NORMAL_MILD: _own("P_NORMAL_MILD", "Probability of normal or mild"),
    Grade.MODERATE: _own("P_MODERATE", "Probability of moderate"),
    Grade.SEVERE: _own("P_SEVERE", "Probability of severe"),
}
COVERAGE = _own("COVERAGE", "Shown by an image")
NOT_SHOWN = _own("NOT_SHOWN", "No image shows the finding")
POINT = codes.DCM.Center
"""The finding's point in the patient, beside its projection onto the image."""


def coding_schemes() -> list[CodingSchemeIdentificationItem]:
    """The identification of the private scheme; its codes are documented in ``docs/how-to/dicom-out.md``."""
    return [CodingSchemeIdentificationItem(SCHEME, "monai_spine codes", "1", None, SCHEME_UID, "monai_spine")]


def finding_sites(finding: Finding) -> list[FindingSite]:
    """The disc level, and the canal, foramen or recess with its side."""
    side = finding.condition.side
    place = FindingSite(_concept(SITES[finding.condition.group]), _concept(SIDES[side]) if side else None)
    return [FindingSite(_concept(DISCS[finding.level])), place]


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme_designator, code.meaning)
