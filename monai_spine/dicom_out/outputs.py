"""The outputs of ``predict`` beside its tables, by the options that ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai_spine.prediction.study_output import StudyOutput

if TYPE_CHECKING:
    from monai_spine.report.output import PageWriter


def study_outputs(*, report: bool, pdf: bool, dicom_out: bool) -> list[StudyOutput]:
    """The page of a study in the forms that are asked for; empty if none is."""
    if not (report or pdf or dicom_out):
        return []  # before the imports of pages, which take a second
    from monai_spine.report.output import HTML, PDF, PageOutput

    writers: list[PageWriter] = [*([HTML] if report else []), *([PDF] if pdf else [])]
    if dicom_out:
        from monai_spine.dicom_out.writer import DicomWriter  # highdicom takes a second to import

        writers.append(DicomWriter())
    return [PageOutput(writers)]
