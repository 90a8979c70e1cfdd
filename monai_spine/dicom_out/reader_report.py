"""The grades of readers as structured reports of their own: one for each reader, who is its observer.

TID 1500 states the observer once, for the whole report. A group with another observer would be an extension that most
programs ignore, so that a reader's grade would be taken for the program's.
"""

from __future__ import annotations

from typing import Any

from highdicom.sr import ObservationContext, ObserverContext, PersonObserverIdentifyingAttributes
from pydicom import Dataset
from pydicom.sr.codedict import codes

from monai_spine.bundle.provenance import RESEARCH
from monai_spine.dicom_out.identity import Identity
from monai_spine.dicom_out.source_image import SourceImages
from monai_spine.dicom_out.structured_report import comment, document, finding_group, plain, reference
from monai_spine.report.study_result import StudyResult
from monai_spine.report.wording import GRADES, percent

SERIES_NUMBER = 9905
_NAMELESS = "READER"
"""In the place of initials without a letter of ASCII."""


def reader_reports(
    result: StudyResult, sources: SourceImages, identity: Identity, read: Identity, program: Dataset
) -> list[Dataset]:
    """The reports of all readers, by their initials; none if nobody graded.

    Parameters
    ----------
    identity, read
        That of the program's report, with which the findings share their tracking UIDs; and that of these reports.
    program
        The report of the program's findings, which each of these names.

    Raises
    ------
    NoDicomError
        If a source image cannot be read.
    """
    reports = []
    for reader in result.readers:
        groups = _groups(result, reader, sources, identity)
        reports.append(_report(groups, reader, sources, read, program))
    return reports


def _groups(result: StudyResult, reader: str, sources: SourceImages, identity: Identity) -> list[Any]:
    groups: list[Any] = []
    for one in result.regraded:
        if one.reader is None or one.reader.by != reader:
            continue
        group = finding_group(one, one.reader.grade, sources, identity)
        share = percent(one.natural[one.grade]).replace("\N{NO-BREAK SPACE}", " ")
        words = f"Graded at {one.reader.at}. The program's grade: {GRADES[one.grade]}, {share}"
        group[0].ContentSequence.append(comment(words))
        groups.append(group)
    return groups


def _report(groups: list[Any], reader: str, sources: SourceImages, read: Identity, program: Dataset) -> Dataset:
    initials = plain(reader) or _NAMELESS
    comments = (
        RESEARCH,
        f"Grades of a reader, {initials}, who saw the program's findings. These are in the report "
        f"{program.SOPInstanceUID}",
    )
    evidence = [reference(source) for source in (*(image.header for image in sources.read), program)]
    name, title = f"sr of reader {reader}", "findings graded by a reader"
    return document(groups, comments, _observer(initials), evidence, read, name, title, SERIES_NUMBER)


def _observer(initials: str) -> ObservationContext:
    """A reader, who is known by initials alone."""
    person = PersonObserverIdentifyingAttributes(initials)
    return ObservationContext(ObserverContext(codes.DCM.Person, person))
