"""The grades of readers as structured reports of their own: one for each reader, who is its observer.

TID 1500 states the observer once, for the whole report. A group with another observer would be an extension that most
programs ignore, so that a reader's grade would be taken for the program's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from highdicom.sr import ObservationContext, ObserverContext, PersonObserverIdentifyingAttributes
from pydicom import Dataset
from pydicom.sr.codedict import codes

from monai_spine.bundle.provenance import RESEARCH
from monai_spine.dicom_out.identity import ObjectIdentity
from monai_spine.dicom_out.source_image import SourceImages
from monai_spine.dicom_out.structured_report import comment, document, finding_group, reference
from monai_spine.report.study_result import FindingResult, ReaderGrade, StudyResult
from monai_spine.report.wording import GRADES, percent

SERIES_NUMBER = 9905


def reader_reports(
    result: StudyResult, sources: SourceImages, identity: ObjectIdentity, program: Dataset
) -> list[Dataset]:
    """The reports of all readers, by their initials; none if nobody graded.

    Parameters
    ----------
    identity
        That of the program's report, with which the findings share their tracking UIDs. A report has a UID of its own
        for what the reader said, and when.
    program
        The report of the program's findings, which each of these names.

    Raises
    ------
    NoDicomError
        If a source image cannot be read.
    """
    reports = []
    for reader in result.readers:
        own = [(one, one.reader) for one in result.regraded if one.reader and one.reader.by == reader]
        stated = [(one.finding.name, read.grade.column, read.by, read.at) for one, read in own]
        groups = _groups(own, sources, identity)
        reports.append(_report(groups, reader, sources, identity.about(stated).holding(reader), program))
    return reports


def _groups(
    findings: Sequence[tuple[FindingResult, ReaderGrade]], sources: SourceImages, identity: ObjectIdentity
) -> list[Any]:
    groups: list[Any] = []
    for one, read in findings:
        group = finding_group(one, read.grade, sources, identity)
        share = percent(one.natural[one.grade]).replace("\N{NO-BREAK SPACE}", " ")
        words = f"Graded at {read.at}. The program's grade: {GRADES[one.grade]}, {share}"
        group[0].ContentSequence.append(comment(words))
        groups.append(group)
    return groups


def _report(groups: list[Any], reader: str, sources: SourceImages, read: ObjectIdentity, program: Dataset) -> Dataset:
    seen = f"Grades of a reader who saw the program's findings. These are in the report {program.SOPInstanceUID}"
    evidence = [reference(source) for source in (*(image.header for image in sources.read), program)]
    name, title = f"sr of reader {reader}", "findings graded by a reader"
    return document(groups, (RESEARCH, seen), _observer(reader), evidence, read, name, title, SERIES_NUMBER)


def _observer(initials: str) -> ObservationContext:
    """A reader, who is known by initials alone."""
    person = PersonObserverIdentifyingAttributes(initials)
    return ObservationContext(ObserverContext(codes.DCM.Person, person))
