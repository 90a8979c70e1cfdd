"""The series in a row's DICOM files: their types, and their volumes where the type is known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from data_prep import scratch
from data_prep.collection.codes import Code
from data_prep.collection.study import find_files
from data_prep.dicom.convert import plan
from data_prep.dicom.frames import Frame, Patient
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.job import Job, JobResult, Settings, run_job
from data_prep.dicom.output_folder import hashed_uid
from data_prep.dicom.refusals import Reason
from data_prep.dicom.stacks.series import drop_copies, stacks_of
from data_prep.dicom.stacks.stack import Stack
from data_prep.dicom.tables import frameless_row, refused_rows
from data_prep.faults import Fault
from data_prep.study_table.series_rows import SeriesReport, Status, final_verdict, with_verdict
from data_prep.study_table.table import SeriesRow
from monai_spine.data.series_typing import series_type_of
from monai_spine.errors import counted
from monai_spine.spine import SeriesType

Namer = Callable[[SeriesType], str]
"""Gives the next name of a volume of a type."""


@dataclass(frozen=True)
class ConvertedRow:
    """What became of the series under a row's path, the faults among them, and the patients that the headers name."""

    reports: list[SeriesReport]
    faults: list[Fault] = field(default_factory=list)
    patients: frozenset[Patient] = frozenset()


def convert_row(study: str, row: SeriesRow, settings: Settings, name: Namer) -> ConvertedRow:
    """All series under a row's path.

    Parameters
    ----------
    study
        Folder under the settings' output that volumes go to.
    """
    with scratch.folder() as unpacked:
        files = find_files(row.path, "input", unpacked, settings.max_bytes)
        headers = [read_header(source, max_bytes=settings.max_bytes) for source in files]
        unread = Counter(
            f"{file.reason}: {file.detail}"
            for file in refused_rows(frameless_row(header) for header in headers if not header.frames)
        )
        faults = [
            Fault(Code.REFUSED_FILE, f"row {row.number}: {counted(count, 'file')}: {reason}", study=study)
            for reason, count in sorted(unread.items())
        ]
        if not any(header.frames for header in headers):
            faults.append(Fault(Code.NO_IMAGES, f"row {row.number}: no DICOM image", study=study))
        reports: list[SeriesReport] = []
        for job in sorted(plan(headers, row.path, "uid", None, one_study=True), key=_order):
            reports += _convert_series(study, row, job, settings, name)
    patients = frozenset(frame.identity.patient for header in headers for frame in header.frames)
    return ConvertedRow(reports, faults, patients)


def _order(job: Job) -> tuple[int, str]:
    first = min(job.frames, key=lambda frame: frame.path)
    return first.identity.series_number or 0, first.path


def _convert_series(study: str, row: SeriesRow, job: Job, settings: Settings, name: Namer) -> Iterator[SeriesReport]:
    """Type each stack of a series by its headers, then convert those of one type together under one name."""
    kept, _ = drop_copies(job.frames)
    typed: dict[SeriesType, list[Frame]] = defaultdict(list)
    reports: dict[SeriesType, SeriesReport] = {}
    for stack in stacks_of(kept):
        report = _typed_report(study, row, stack)
        if report.status is Status.USED:
            series_type = SeriesType(report.series_type)
            typed[series_type] += stack.frames
            reports.setdefault(series_type, report)
        else:
            yield report
    for series_type, frames in typed.items():
        result = run_job(Job(_named(frames, study, name(series_type))), settings)
        yield from _converted(reports[series_type], result)


def _typed_report(study: str, row: SeriesRow, stack: Stack) -> SeriesReport:
    """The row of a stack, with its series type."""
    first, plane = stack.first, stack.plane
    report = SeriesReport(
        study,
        row.number,
        series_number="" if first.identity.series_number is None else str(first.identity.series_number),
        description=first.identity.description,
        plane=plane.value if plane else "",
        slices=str(len(stack.volumes[0])),
    )
    if plane is None or stack.reason is Reason.LOCALIZER:
        status = Status.OTHER if stack.reason is Reason.LOCALIZER else Status.REFUSED
        return replace(report, status=status, reason=_refusal(stack.reason, stack.detail))
    header = {**dict(first.parameters), "SeriesDescription": first.identity.description}
    if first.contrast.echo_time is not None:
        header["EchoTime"] = first.contrast.echo_time
    return with_verdict(report, final_verdict(row.series_type, series_type_of(header, plane), plane))


def _refusal(reason: Reason | None, detail: str) -> str:
    return f"{reason.value if reason else Reason.NO_GEOMETRY.value}: {detail}"


def _named(frames: Sequence[Frame], study: str, name: str) -> tuple[Frame, ...]:
    """The frames under the study's own name, with UIDs derived from that name, which identify no patient."""
    numbers = {series: n for n, series in enumerate(sorted({frame.identity.series for frame in frames}))}
    uids = {series: hashed_uid(f"{study}/{name}/{n}", "study-table") for series, n in numbers.items()}
    study_uid = hashed_uid(study, "study-table")
    return tuple(
        replace(
            frame,
            identity=replace(
                frame.identity,
                study=study_uid,
                series=uids[frame.identity.series],
                study_name=study,
                series_name=name,
            ),
        )
        for frame in frames
    )


def _converted(report: SeriesReport, result: JobResult) -> Iterator[SeriesReport]:
    """A row for each stack that the converter made a volume of, or refused."""
    timed = {file.nifti for file in result.files if file.t is not None}
    for stack in result.manifest:
        made = replace(report, plane=stack.plane, slices=str(stack.slices), nifti=stack.nifti)
        if not stack.nifti:
            reason = f"{stack.reason}: {stack.detail}"
            yield replace(made, status=Status.REFUSED, series_type="", confidence="none", reason=reason)
        elif stack.nifti in timed:
            reason = "a volume over time, which no series type expects"
            yield replace(made, status=Status.LEFT_OUT, series_type="", confidence="none", reason=reason)
        else:
            yield made
