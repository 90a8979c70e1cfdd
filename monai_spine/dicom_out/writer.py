"""Writes the DICOM objects of a study: a page writer of ``predict --dicom-out``."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence_item
from pydicom.valuerep import VR

from monai_spine.dicom_out.encapsulated_pdf import encapsulated_pdf
from monai_spine.dicom_out.identity import ObjectIdentity
from monai_spine.dicom_out.key_images import key_images, secondary_captures
from monai_spine.dicom_out.reader_report import reader_reports
from monai_spine.dicom_out.refusal_note import refusal_objects
from monai_spine.dicom_out.source_image import SourceImages
from monai_spine.dicom_out.structured_report import structured_report
from monai_spine.files import write_bytes
from monai_spine.levels.marked import MARKED
from monai_spine.prediction.object_files import OBJECTS, remove_objects
from monai_spine.prediction.study_output import GradedStudy, RefusedStudy
from monai_spine.report.pdf_page import study_pdf
from monai_spine.report.study_page import StudyPage
from monai_spine.report.study_result import StudyResult

_REPORT = "report.dcm"
_REFUSAL = "refusal_image.dcm"


@dataclass(frozen=True)
class DicomWriter:
    """Writes ``dicom/sr.dcm``, ``dicom/keyimages_<n>.dcm`` and ``dicom/report.dcm``; see `PageWriter`.

    A study that readers graded gets ``dicom/sr_reader_<n>.dcm`` for each of them, too.
    """

    name: str = OBJECTS
    explains: bool = False

    def complete(self, folder: Path, *, refused: bool) -> bool:
        """Whether the last file is there."""
        return (folder / OBJECTS / (_REFUSAL if refused else _REPORT)).is_file()

    def write(self, study: GradedStudy, page: StudyPage) -> None:
        """Write the objects. All are made before the first is written.

        Raises
        ------
        NoDicomError
            If the study did not come as DICOM, or its images belong to several patients or studies.
        InvalidVolumeError, MissingInputError
            If a volume cannot be read.
        """
        sources = SourceImages(study.frames)
        for one in page.result.findings:
            sources.image(one.series, one.slice_index, one.slice_axis)
        images = key_images(page, study.record, sources)
        # The slices of all volumes: images that come late may change a grade, and no source of a finding.
        about = (study.content["models"], study.localizers, sorted(study.frames), _marked(page.result))
        measured = [study.content["measures"]] if "measures" in study.content else []
        identity = ObjectIdentity.of(sources.checked(), *about, *measured)
        objects = {"sr.dcm": structured_report(page.result, sources, identity)}
        # The program's report stays the same, whatever readers say; what shows their grades is another object then.
        reports = reader_reports(page.result, sources, identity, objects["sr.dcm"])
        objects |= {f"sr_reader_{n}.dcm": report for n, report in enumerate(reports, start=1)}
        captures = secondary_captures(images, identity.about([image.read for image in images if image.read]))
        objects |= {f"keyimages_{n}.dcm": capture for n, capture in enumerate(captures, start=1)}
        objects[_REPORT] = encapsulated_pdf(study_pdf(page), identity.about(_read(page.result)), sources.read)
        self.remove(study.folder)
        write_objects(study.folder / OBJECTS, objects)

    def refuse(self, study: RefusedStudy) -> None:
        """Write a note that says why the study was not graded.

        Raises
        ------
        NoDicomError
            If the study did not come as DICOM, or see `refusal_notes`.
        """
        sources = SourceImages(study.frames)
        for volume, index in {name: (name, k) for name, k in study.frames}.values():
            sources.image(volume, index, 2)
        if not study.frames:
            sources.add(study.unused, study.study_id)
        write_objects(study.folder / OBJECTS, refusal_notes(study.reason, sources))

    def remove(self, folder: Path) -> None:
        """Remove the objects of an earlier run; files of others stay."""
        remove_objects(folder)


def refusal_notes(reason: str, sources: SourceImages) -> dict[str, Dataset]:
    """The objects of a study that was not graded, by the names of their files.

    If the images name several patients, each of these gets a note that belongs to the patient's own images alone, as
    an archive has them.

    Raises
    ------
    NoDicomError
        If no source image was read, or they name more than a few patients.
    """
    objects: dict[str, Dataset] = {}
    for n, images in enumerate(sources.by_identity(), start=1):
        own = refusal_objects(reason, ObjectIdentity.of(images, reason), images)
        objects |= {name if n == 1 else name.replace(".dcm", f"_{n}.dcm"): note for name, note in own.items()}
    return objects


def write_objects(folder: Path, objects: Mapping[str, Dataset]) -> None:
    """Write objects by the names of their files."""
    for name, content in objects.items():
        write_bytes(folder / name, _encoded(content))


def _marked(result: StudyResult) -> list[object]:
    """The places that a person marked, by which the same study is graded in another way."""
    return [(one.finding.name, one.point) for one in result.findings if MARKED in one.flags]


def _read(result: StudyResult) -> list[object]:
    """What readers said, as the PDF shows it."""
    grades = [(one.finding.name, one.reader.grade.column, one.reader.by) for one in result.regraded if one.reader]
    return [*grades, result.reviewed] if grades or result.reviewed else []


def _encoded(content: Dataset) -> bytes:
    buffer = io.BytesIO()
    if "ContentSequence" in content:
        _prepare(content)
    # The identity is taken over as it is, also where it breaks the rules of DICOM.
    with disable_value_validation():
        content.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _prepare(report: Dataset) -> None:
    """Prepare a structured report for writing: without it, pydicom takes three times as long.

    It corrects ambiguous representations, of which reports have none, below each item again, and writes the same codes
    some hundred times. So all items are said to be in the encoding of the file, and codes are encoded once. Items must
    not be part of another report afterwards.
    """
    report.set_original_encoding(False, True, report._character_set)
    for element in list(report):
        if element.VR != VR.SQ:
            continue
        if len(element.value) == 1 and isinstance(code := element.value[0], CodedConcept):
            encoded = _encoded_code(code.scheme_designator, code.value, code.meaning)
            raw = RawDataElement(element.tag, VR.SQ, len(encoded), encoded, 0, False, True)
            report._dict[element.tag] = raw  # __setitem__ would decode it
        else:
            for item in element.value:
                _prepare(item)


@lru_cache(maxsize=1024)
def _encoded_code(scheme: str, value: str, meaning: str) -> bytes:
    """The items of a sequence of one code, in Explicit VR Little Endian. Codes are in ASCII."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_sequence_item(buffer, CodedConcept(value, scheme, meaning), ["ascii"])
    return buffer.getvalue()
