"""A table of a user's own studies: DICOM or NIfTI in, volumes and ``datalist.json`` out."""

import functools
from collections import Counter
from dataclasses import replace
from pathlib import Path

from data_prep import folds as folding
from data_prep.collection import coverage_table
from data_prep.collection.assembly import COVERAGE, Collection, Run, assemble
from data_prep.collection.codes import Code
from data_prep.collection.output_folder import check_output
from data_prep.collection.points import contradictions
from data_prep.collection.study import TEST, TRAINING, StudyResult, failed_study, label_faults, make_entry
from data_prep.dicom.frames import Patient
from data_prep.dicom.job import Settings
from data_prep.dicom.refusals import Reason
from data_prep.dicom.studies import distinct, several
from data_prep.faults import Fault
from data_prep.study_table.dicom_series import ConvertedRow, Namer, convert_row
from data_prep.study_table.nifti_series import copy_row
from data_prep.study_table.series_rows import COLUMNS, SeriesReport, Status, volume_name
from data_prep.study_table.table import SeriesRow, StudyTable, TableStudy, read_study_table
from monai_spine.data.nifti_file import PAIR_SUFFIXES
from monai_spine.data.volume import SUFFIXES
from monai_spine.spine import Finding, SeriesType

SERIES = "series.csv"
_CODES = {Status.REFUSED: Code.REFUSED_STACK, Status.LEFT_OUT: Code.TYPE_UNKNOWN}


def build(
    table: Path, out: Path, run: Run, *, labels: Path | None = None, points: Path | None = None
) -> tuple[Collection, StudyTable]:
    """Convert the table's series and write ``datalist.json`` and its tables (see ``docs/how-to/data.md``) to ``out``.

    Parameters
    ----------
    table
        A row per series or per study; paths are relative to it.
    labels, points
        Further tables, of grades and of points in RAS mm.
    run
        All studies of a patient have one fold. Studies without a grade go to the test section.

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
    collection = read_study_table(table, labels, points)
    folding.check_number(run.folds, len({study.patient for study in collection.studies if study.labels is not None}))
    paths = [row.path for study in collection.studies for row in study.rows]
    check_output(out, paths, [study.study for study in collection.studies])
    labelled = frozenset(study.patient for study in collection.studies if study.labels is not None)
    settings = Settings(out=str(out.resolve()), resume=run.resume)
    work = functools.partial(_study, settings=settings, labelled=labelled)
    columns = {SERIES: COLUMNS, COVERAGE: coverage_table.COLUMNS}
    return assemble(collection.studies, work, out.resolve(), tables=columns, run=run), collection


def _study(study: TableStudy, settings: Settings, labelled: frozenset[str]) -> StudyResult:
    """`_converted_study`, or why it failed."""
    try:
        return _converted_study(study, settings, labelled)
    except Exception as error:  # one study must not end the run
        return failed_study(study.study, study.study, TEST if study.labels is None else TRAINING, error)


def _converted_study(study: TableStudy, settings: Settings, labelled: frozenset[str]) -> StudyResult:
    """Convert a study's rows, one after the other."""
    reports, faults = _series(study, settings)
    volumes: dict[SeriesType, list[str]] = {series_type: [] for series_type in SeriesType}
    for report in reports:
        if report.status is Status.USED:
            volumes[SeriesType(report.series_type)].append(report.nifti)
    entry, entry_faults = make_entry(study.study, study.patient, volumes, study.labels, study.points or None)
    faults += entry_faults
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
    patients: set[Patient] = set()
    for row in study.rows:
        converted = _convert(study.study, row, settings, name)
        reports += converted.reports
        faults += converted.faults
        patients |= converted.patients
    if len(persons := distinct(patients)) > 1:
        reports = [_of_several(report, f"{Reason.MIXED_PATIENTS.value}: {several(persons)}") for report in reports]
    for report in reports:
        if report.status in _CODES:
            contradicted = report.reason.startswith("given as")
            code = Code.TYPE_CONTRADICTED if contradicted else _CODES[report.status]
            faults.append(_fault(study, code, f"row {report.row}: {report.reason}"))
    return reports, faults


def _of_several(report: SeriesReport, reason: str) -> SeriesReport:
    """A used series, refused since its study has images of several patients; its volume is removed as a stale one."""
    if report.status is not Status.USED:
        return report
    return replace(report, status=Status.REFUSED, series_type="", confidence="none", reason=reason, nifti="")


def _convert(study: str, row: SeriesRow, settings: Settings, name: Namer) -> ConvertedRow:
    if row.path.name.lower().endswith((*SUFFIXES, *PAIR_SUFFIXES)):
        return ConvertedRow([copy_row(study, row, settings, name)])
    return convert_row(study, row, settings, name)


def _point_faults(study: TableStudy) -> list[Fault]:
    """Points that contradict each other; where there are any, labels without points and points without labels."""
    if not study.points:
        return []
    faults = [_fault(study, code, detail, finding) for finding, code, detail in contradictions(study.points)]
    return faults + (label_faults(study.study, study.labels, study.points) if study.labels else [])


def _fault(study: TableStudy, code: Code, detail: str, finding: Finding | None = None) -> Fault:
    return Fault(code, detail, study=study.study, targets=(finding.name,) if finding else ())
