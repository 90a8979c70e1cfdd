"""A table of a user's own studies: DICOM or NIfTI in, volumes and ``datalist.json`` out."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep import folds as folding
from data_prep.collection import coverage_table
from data_prep.collection.assembly import COVERAGE, Collection, Run, assemble
from data_prep.collection.codes import Code
from data_prep.collection.output_folder import check_output
from data_prep.collection.points import contradictions
from data_prep.collection.study import TEST, TRAINING, Entry, StudyResult, failed_study
from data_prep.dicom.job import Settings
from data_prep.faults import Fault
from data_prep.study_table.dicom_series import Namer, convert_row
from data_prep.study_table.nifti_series import copy_row
from data_prep.study_table.series_rows import COLUMNS, SeriesReport, Status, volume_name
from data_prep.study_table.table import SeriesRow, StudyTable, TableStudy, read_study_table
from monai_spine.data.nifti_file import PAIR_SUFFIXES
from monai_spine.data.volume import SUFFIXES
from monai_spine.spine import FINDINGS, MISSING, Finding, SeriesType

SERIES = "series.csv"
_CODES = {Status.REFUSED: Code.REFUSED_STACK, Status.LEFT_OUT: Code.TYPE_NOT_TOLD}


def build(
    table: Path,
    out: Path,
    *,
    labels: Path | None = None,
    points: Path | None = None,
    folds: int = 5,
    seed: int = 0,
    workers: int = 1,
    cluster: str | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> tuple[Collection, StudyTable]:
    """Convert the table's series and write ``datalist.json`` and its tables (see ``docs/how-to/data.md``) to ``out``.

    Parameters
    ----------
    table
        A row per series or per study; paths are relative to it.
    labels, points
        Further tables, of grades and of points in RAS mm.
    folds, seed
        Of the cross-validation; all studies of a patient have one fold. Studies without a grade go to the test section.
    workers, cluster, resume
        As for `data_prep.rsna2024.datalist.build`.

    Raises
    ------
    MissingInputError
        If a table or a column is not there.
    InvalidTableError
        If the tables break their format.
    InvalidOptionError
        If there are too few patients for the folds, or ``out`` holds volumes of other studies.
    OutputError
        If ``out`` cannot be written to.
    """
    given = read_study_table(table, labels, points)
    folding.check_number(folds, len({study.patient for study in given.studies if study.labels is not None}))
    paths = [row.path for study in given.studies for row in study.rows]
    check_output(out, paths, [study.study for study in given.studies])
    run = Run(folds=folds, seed=seed, workers=workers, cluster=cluster, quiet=quiet)
    labelled = frozenset(study.patient for study in given.studies if study.labels is not None)
    settings = Settings(out=str(out.resolve()), resume=resume)
    work = functools.partial(_study, settings=settings, labelled=labelled)
    columns = {SERIES: COLUMNS, COVERAGE: coverage_table.COLUMNS}
    return assemble(given.studies, work, out.resolve(), tables=columns, run=run), given


def _study(study: TableStudy, settings: Settings, labelled: frozenset[str]) -> StudyResult:
    """`_converted_study`, or why it failed."""
    try:
        return _converted_study(study, settings, labelled)
    except Exception as error:
        return failed_study(study.study, study.study, TEST if study.labels is None else TRAINING, error)


def _converted_study(study: TableStudy, settings: Settings, labelled: frozenset[str]) -> StudyResult:
    """Convert a study's rows, one after the other."""
    reports, faults = _series(study, settings)
    entry = _entry(study, reports)
    if entry is None:
        faults.append(_fault(study, Code.NO_VOLUME, "left out of the datalist"))
    else:
        faults += [
            _fault(study, Code.NO_SERIES_TYPE, series_type.title)
            for series_type in SeriesType
            if series_type.value not in entry
        ]
    if study.labels is None and study.patient in labelled:
        faults.append(_fault(study, Code.IN_BOTH_SECTIONS, f"the patient of study {study.patient}"))
    faults += _point_faults(study)
    coverage, not_covered = coverage_table.coverage_cells(study.study, entry, study.points, Path(settings.out))
    refused = any(report.status in _CODES for report in reports) or any(f.code is Code.REFUSED_FILE for f in faults)
    return StudyResult(
        study=study.study,
        folder=study.study,
        section=TEST if study.labels is None else TRAINING,
        entry=entry,
        faults=[*faults, *not_covered],
        rows={SERIES: [report.cells() for report in reports], COVERAGE: coverage},
        volumes=[report.nifti for report in reports if report.nifti],
        refused=refused or entry is None,
    )


def _series(study: TableStudy, settings: Settings) -> tuple[list[SeriesReport], list[Fault]]:
    """What became of each series, in the order of the rows, and the faults among them."""
    numbers: Counter[SeriesType] = Counter()

    def name(series_type: SeriesType) -> str:
        numbers[series_type] += 1
        return volume_name(series_type, numbers[series_type])

    reports: list[SeriesReport] = []
    faults: list[Fault] = []
    for row in study.rows:
        row_reports, row_faults = _convert(study.study, row, settings, name)
        reports += row_reports
        faults += row_faults
    for report in reports:
        if report.status in _CODES:
            contradicted = report.reason.startswith("given as")
            code = Code.TYPE_CONTRADICTED if contradicted else _CODES[report.status]
            faults.append(_fault(study, code, f"row {report.row}: {report.reason}"))
    return reports, faults


def _convert(study: str, row: SeriesRow, settings: Settings, name: Namer) -> tuple[list[SeriesReport], list[Fault]]:
    if row.path.name.lower().endswith((*SUFFIXES, *PAIR_SUFFIXES)):
        return [copy_row(study, row, settings, name)], []
    return convert_row(study, row, settings, name)


def _entry(study: TableStudy, reports: Sequence[SeriesReport]) -> Entry | None:
    """The study as the datalist has it; None without a volume."""
    volumes: dict[str, list[str]] = {series_type.value: [] for series_type in SeriesType}
    for report in reports:
        if report.status is Status.USED:
            volumes[report.series_type].append(report.nifti)
    if not any(volumes.values()):
        return None
    entry: Entry = {"study_id": study.study, "patient_id": study.patient}
    entry |= {series_type: files for series_type, files in volumes.items() if files}
    if study.labels is not None:
        entry["label"] = list(study.labels)
    if study.points:
        entry["points"] = {
            finding.name: [round(float(value), 4) for value in study.points[finding]]
            for finding in FINDINGS
            if finding in study.points
        }
    return entry


def _point_faults(study: TableStudy) -> list[Fault]:
    """Points that contradict each other; where there are any, labels without points and points without labels."""
    if not study.points:
        return []
    faults = [_fault(study, code, detail, finding) for finding, code, detail in contradictions(study.points)]
    for finding, label in zip(FINDINGS, study.labels or (), strict=False):
        if (label == MISSING) == (finding in study.points):
            faults.append(_fault(study, Code.NO_LABEL if label == MISSING else Code.NO_POINT, "", finding))
    return faults


def _fault(study: TableStudy, code: Code, detail: str, finding: Finding | None = None) -> Fault:
    return Fault(code, detail, study=study.study, targets=(finding.name,) if finding else ())
