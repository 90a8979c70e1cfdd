"""The note of a study that was not graded, as DICOM objects: an Enhanced SR of plain text, and a picture of the text.

A study that comes back without a word looks like one that is still being graded.
"""

from __future__ import annotations

import textwrap

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    EnhancedSR,
    RelationshipTypeValues,
    TextContentItem,
)
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from monai_spine import __version__
from monai_spine.bundle.provenance import RESEARCH
from monai_spine.dicom_out import codes as own
from monai_spine.dicom_out.identity import EQUIPMENT, SERIAL_NUMBER, SERIES_PREFIX, ObjectIdentity
from monai_spine.dicom_out.key_images import KeyImage, Picture, secondary_captures
from monai_spine.dicom_out.source_image import SourceImage
from monai_spine.dicom_out.structured_report import observation_context, plain, reference
from monai_spine.report.wording import refusal_in_words

SERIES_NUMBER = 9904
TITLE = "Study was not graded"
_REPORT = Code("18748-4", "LN", "Diagnostic imaging report")
_WIDTH = 84
"""Characters of a line of the picture."""
_LONGEST = 40
"""Lines of the picture; the report has all of them."""


def refusal_objects(reason: str, identity: ObjectIdentity, sources: list[SourceImage]) -> dict[str, Dataset]:
    """The objects by the names of their files."""
    lines = refusal_in_words(reason)
    picture = KeyImage(_picture(lines), TITLE, None, None)
    (capture,) = secondary_captures([picture], identity, "refusal of the study")
    return {"refusal.dcm": _text_report(lines, identity, sources), "refusal_image.dcm": capture}


def _text_report(lines: list[str], identity: ObjectIdentity, sources: list[SourceImage]) -> Dataset:
    """A report after TID 2000 (basic diagnostic imaging report): the reason as its conclusion."""
    contains = RelationshipTypeValues.CONTAINS
    section = ContainerContentItem(_concept(codes.DCM.Conclusions), relationship_type=contains)
    conclusion = _concept(codes.DCM.Conclusion)
    texts = [f"{TITLE}. {lines[0]}", *lines[1:], f"{RESEARCH} monai_spine {__version__}"]
    section.ContentSequence = ContentSequence([TextContentItem(conclusion, plain(text), contains) for text in texts])
    language = CodeContentItem(
        _concept(codes.DCM.LanguageOfContentItemAndDescendants),
        CodedConcept("en", "RFC5646", "English"),
        RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    root = ContainerContentItem(_concept(_REPORT), template_id="2000")
    root.ContentSequence = ContentSequence([language, *observation_context(), section])
    report = EnhancedSR(
        evidence=[reference(image.header) for image in sources],
        content=root,
        series_instance_uid=identity.uid("refusal series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=identity.uid("refusal"),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        device_serial_number=SERIAL_NUMBER,
        series_description=f"{SERIES_PREFIX}refusal of the study",
        performed_procedure_codes=[own.PROCEDURE],
        **EQUIPMENT,
    )
    identity.apply(report)
    return report


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme_designator, code.meaning)


def _picture(lines: list[str]) -> Picture:
    wrapped = [part for line in lines for part in (*textwrap.wrap(plain(line), _WIDTH), "")]
    if len(wrapped) > _LONGEST:
        wrapped = [*wrapped[:_LONGEST], "... (the structured report has all of it)"]
    picture = Image.new("RGB", (900, 110 + 24 * len(wrapped)), "black")
    draw = ImageDraw.Draw(picture)
    draw.text((24, 20), TITLE, (255, 184, 77), ImageFont.load_default(28))
    for n, line in enumerate(wrapped):
        draw.text((24, 70 + 24 * n), line, "white", ImageFont.load_default(18))
    draw.text(
        (24, picture.height - 30), f"{RESEARCH} monai_spine {__version__}", (182, 188, 198), ImageFont.load_default(14)
    )
    return np.asarray(picture)
