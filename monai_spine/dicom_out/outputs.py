"""The outputs of ``predict`` beside its tables, by the options that ask for them."""

from __future__ import annotations

from monai_spine.prediction.study_output import StudyOutput
from monai_spine.report.output import HTML, PDF, PageOutput, PageWriter


def study_outputs(*, report: bool, pdf: bool, dicom_out: bool) -> list[StudyOutput]:
    """The page of a study in the forms that are asked for; empty if none is."""
    writers: list[PageWriter] = [*([HTML] if report else []), *([PDF] if pdf else [])]
    if dicom_out:
        from monai_spine.dicom_out.writer import DicomWriter  # highdicom takes a second to import

        writers.append(DicomWriter())
    return [PageOutput(writers)] if writers else []
