"""A table of a user's own studies: DICOM or NIfTI in, volumes and ``datalist.json`` out."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep import folds as folding
from data_prep.collection import cover_table
from data_prep.collection.assembly import COVERAGE, Collection, Run, assemble
from data_prep.collection.faults import Fault, FaultKind
from data_prep.collection.output_folder import check_output
from data_prep.collection.point_checks import odd_points
from data_prep.collection.study import TEST, TRAINING, Entry, StudyResult
from data_prep.dicom.job import Settings
from data_prep.study_table.dicom_series import Namer, convert_row
from data_prep.study_table.nifti_series import EXTENSIONS, copy_row
from data_prep.study_table.series_rows import COLUMNS, SeriesReport, Status, volume_name
from data_prep.study_table.table import SeriesRow, StudyTable, TableStudy, read_study_table
from monai_spine.spine import FINDINGS, MISSING, SeriesType

SERIES = "series.csv"
_KINDS = {Status.REFUSED: FaultKind.REFUSED_STACK, Status.LEFT_OUT: FaultKind.TYPE_NOT_TOLD}


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
    """Convert the table's series and write ``datalist.json`` and its tables (see ``docs/data.md``) to ``out``.

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
    columns = {SERIES: COLUMNS, COVERAGE: cover_table.COLUMNS}
    return assemble(given.studies, work, out.resolve(), tables=columns, run=run), given


def _study(study: TableStudy, settings: Settings, labelled: frozenset[str]) -> StudyResult:
    """Take in a study's rows, one after the other."""
    reports, faults = _series(study, settings)
    entry = _entry(study, reports)
    if entry is None:
        faults.append(_fault(study, FaultKind.NO_VOLUME, "left out of the datalist"))
    else:
        faults += [
            _fault(study, FaultKind.NO_SERIES_TYPE, kind.title) for kind in SeriesType if kind.value not in entry
        ]
    if study.labels is None and study.patient in labelled:
        faults.append(_fault(study, FaultKind.IN_BOTH_SECTIONS, f"the patient of study {study.patient}"))
    faults += _point_faults(study)
    cover, not_covered = cover_table.cover_cells(study.study, entry, study.points, Path(settings.out))
    refused = any(report.status in _KINDS for report in reports) or any(
        f.kind is FaultKind.REFUSED_FILE for f in faults
    )
    return StudyResult(
        study=study.study,
        folder=study.study,
        section=TEST if study.labels is None else TRAINING,
        entry=entry,
        faults=[*faults, *not_covered],
        rows={SERIES: [report.cells() for report in reports], COVERAGE: cover},
        volumes=[report.nifti for report in reports if report.nifti],
        refused=refused or entry is None,
    )


def _series(study: TableStudy, settings: Settings) -> tuple[list[SeriesReport], list[Fault]]:
    """What became of each series, in the order of the rows, and the faults among them."""
    numbers: Counter[SeriesType] = Counter()

    def name(kind: SeriesType) -> str:
        numbers[kind] += 1
        return volume_name(kind, numbers[kind])

    reports: list[SeriesReport] = []
    faults: list[Fault] = []
    for row in study.rows:
        found, odd = _take(study.study, row, settings, name)
        reports += found
        faults += odd
    for report in reports:
        if report.status in _KINDS:
            contradicted = report.reason.startswith("given as")
            kind = FaultKind.TYPE_CONTRADICTED if contradicted else _KINDS[report.status]
            faults.append(_fault(study, kind, f"row {report.row}: {report.reason}"))
    return reports, faults


def _take(study: str, row: SeriesRow, settings: Settings, name: Namer) -> tuple[list[SeriesReport], list[Fault]]:
    if row.path.name.lower().endswith(EXTENSIONS):
        return [copy_row(study, row, settings, name)], []
    return convert_row(study, row, settings, name)


def _entry(study: TableStudy, reports: Sequence[SeriesReport]) -> Entry | None:
    """The study as the datalist has it; None without a volume."""
    volumes: dict[str, list[str]] = {kind.value: [] for kind in SeriesType}
    for report in reports:
        if report.status is Status.USED:
            volumes[report.series_type].append(report.nifti)
    if not any(volumes.values()):
        return None
    entry: Entry = {"study_id": study.study, "patient_id": study.patient}
    entry |= {kind: files for kind, files in volumes.items() if files}
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
    odd = [Fault(study.study, "", finding.name, kind, detail) for finding, kind, detail in odd_points(study.points)]
    for finding, label in zip(FINDINGS, study.labels or (), strict=False):
        if (label == MISSING) == (finding in study.points):
            kind = FaultKind.NO_LABEL if label == MISSING else FaultKind.NO_POINT
            odd.append(Fault(study.study, "", finding.name, kind, ""))
    return odd


def _fault(study: TableStudy, kind: FaultKind, detail: str) -> Fault:
    return Fault(study.study, "", "", kind, detail)
