"""Writes the DICOM objects of a study: a page writer of ``predict --dicom-out``."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.config import disable_value_validation

from monai_spine.dicom_out.encapsulated_pdf import encapsulated_pdf
from monai_spine.dicom_out.identity import Identity
from monai_spine.dicom_out.key_images import key_images, secondary_captures
from monai_spine.dicom_out.source_image import SourceImages
from monai_spine.dicom_out.structured_report import structured_report
from monai_spine.files import write_bytes
from monai_spine.prediction.study_output import GradedStudy
from monai_spine.report.pdf_page import study_pdf
from monai_spine.report.study_page import StudyPage

FOLDER = "dicom"
_REPORT = "report.dcm"


@dataclass(frozen=True)
class DicomWriter:
    """Writes ``dicom/sr.dcm``, ``dicom/keyimages_<n>.dcm`` and ``dicom/report.dcm``; see `PageWriter`."""

    name: str = FOLDER

    def complete(self, folder: Path) -> bool:
        """Whether the last file is there."""
        return (folder / FOLDER / _REPORT).is_file()

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
        identity = Identity.of(sources.checked())
        objects = {"sr.dcm": structured_report(page.result, sources, identity)}
        captures = secondary_captures(images, identity)
        objects |= {f"keyimages_{n}.dcm": capture for n, capture in enumerate(captures, start=1)}
        objects[_REPORT] = encapsulated_pdf(study_pdf(page), identity, sources.read)
        self.remove(study.folder)
        for name, content in objects.items():
            write_bytes(study.folder / FOLDER / name, _encoded(content))

    def remove(self, folder: Path) -> None:
        """Remove the objects of an earlier run."""
        for file in (folder / FOLDER).glob("*.dcm"):
            file.unlink()


def _encoded(content: Dataset) -> bytes:
    buffer = io.BytesIO()
    # The identity is taken over as it is, also where it breaks the rules of DICOM.
    with disable_value_validation():
        content.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
