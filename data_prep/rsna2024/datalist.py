"""The layout of the RSNA 2024 competition: DICOM folders and tables in, volumes, ``datalist.json`` and points out."""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep import folds as folding
from data_prep.collection import coverage_table
from data_prep.collection.assembly import COVERAGE, Collection, Run, assemble
from data_prep.collection.codes import Code
from data_prep.collection.output_folder import check_output
from data_prep.collection.study import TEST, TRAINING, StudyResult, convert_study, failed_study
from data_prep.dicom.job import JobResult, Settings
from data_prep.dicom.tables import REFUSED, TABLES, cells, refused_rows
from data_prep.faults import Fault
from data_prep.rsna2024.label_points import PlacedPoint
from data_prep.rsna2024.labels import TEST_SERIES, TRAIN, StudyTables, Training, read_test, read_training
from data_prep.rsna2024.studies import ConvertedStudy, join
from monai_spine.errors import MissingInputError, counted

IMAGES = {TRAINING: "train_images", TEST: "test_images"}
OUTPUT = {TRAINING: "", TEST: "test"}
"""Folder of OUT that a section's studies and conversion tables go to."""
MANIFEST, FILES, _ = CONVERTED = ("manifest.csv", "files.csv", REFUSED)
"""Tables of the converter, of all studies of a section together."""
POINTS = "points.csv"
POINT_COLUMNS = (
    "study_id", "target", "series_id", "instance_number", "column", "row", "nifti", "k", "x", "y", "z", "error_px",
)  # fmt: skip

LOST_POINTS = (Code.NO_SLICE, Code.ROUND_TRIP)
"""Points that are in the tables and not in the datalist: the run ends as one that refused something."""


@dataclass(frozen=True)
class _Job:
    study: StudyTables
    section: str


def build(rsna: Path, out: Path, run: Run) -> Collection:
    """Convert a collection and write ``datalist.json`` and its tables (see ``docs/how-to/data.md``) to ``out``.

    ``rsna`` is a folder with ``train.csv`` and its companions, or with the test files alone. A patient is a study here.

    Raises `MissingInputError` if a table, a column or the images are not there.
    Raises `InvalidTableError` if a table breaks its format.
    Raises `InvalidOptionError` if there are too few patients for the folds, or ``out`` holds volumes of other studies.
    Raises `OutputError` if ``out`` cannot be written to.
    """
    training, test = _read(rsna)
    folding.check_number(run.folds, len(training.studies))
    jobs = [_Job(study, TRAINING) for study in training.studies] + [_Job(study, TEST) for study in test]
    check_output(out, [rsna / folder for folder in IMAGES.values()], [_folder(job) for job in jobs])
    work = functools.partial(_study, rsna=rsna.resolve(), out=out.resolve(), resume=run.resume)
    sections = [section for section in (TRAINING, TEST) if any(job.section == section for job in jobs)]
    unlisted = _unlisted_faults(rsna, training, test)
    return assemble(jobs, work, out.resolve(), tables=_tables(sections), run=run, unlisted=unlisted)


def _read(rsna: Path) -> tuple[Training, list[StudyTables]]:
    """The tables of the sections that exist: training, test, or both."""
    if not rsna.is_dir():
        raise MissingInputError(f"there is no folder {rsna}; expected one in the layout of the RSNA 2024 competition")
    test = read_test(rsna) if _has_files(rsna / IMAGES[TEST]) else []
    if (rsna / TRAIN).is_file() or not test:
        training = read_training(rsna)
        if not _has_files(rsna / IMAGES[TRAINING]):
            raise MissingInputError(
                f"{rsna / IMAGES[TRAINING]}: expected a folder with DICOM files of {TRAIN}'s studies"
            )
        return training, test
    return Training((), ()), test


def _has_files(folder: Path) -> bool:
    return any(files for _, _, files in os.walk(folder, followlinks=True))


def _tables(sections: Sequence[str]) -> dict[str, Sequence[str]]:
    """Columns of OUT's tables."""
    converted = {_in(section, name): TABLES[name][1] for section in sections for name in CONVERTED}
    return {POINTS: POINT_COLUMNS, COVERAGE: coverage_table.COLUMNS, **converted}


def _in(section: str, name: str) -> str:
    """The path in OUT of a file or folder of a section."""
    return f"{OUTPUT[section]}/{name}".lstrip("/")


def _folder(job: _Job) -> str:
    return _in(job.section, job.study.study)


def _study(job: _Job, rsna: Path, out: Path, resume: bool) -> StudyResult:
    """`_joined_study`, or why it failed."""
    try:
        return _joined_study(job, rsna, out, resume)
    except Exception as error:  # one study must not end the run
        return failed_study(job.study.study, _folder(job), job.section, error)


def _joined_study(job: _Job, rsna: Path, out: Path, resume: bool) -> StudyResult:
    """Convert one study, and join its tables to what the converter made of it."""
    study, images, converted = job.study, rsna / IMAGES[job.section], out / OUTPUT[job.section]
    result = convert_study(images, study.study, Settings(out=str(converted), resume=resume))
    conversion = ConvertedStudy.of(result)
    entry, points, faults = join(study, conversion, images, converted, out)
    places = {point.mark.finding: point.position for point in points}
    coverage, not_covered = coverage_table.coverage_cells(study.study, entry, places, out)
    return StudyResult(
        study=study.study,
        folder=_folder(job),
        section=job.section,
        entry=entry,
        faults=[*faults, *not_covered],
        rows={
            POINTS: [_point_row(point) for point in points],
            COVERAGE: coverage,
            _in(job.section, MANIFEST): [cells(MANIFEST, row) for row in result.manifest],
            _in(job.section, FILES): [cells(FILES, row) for row in result.files],
            _in(job.section, REFUSED): [cells(REFUSED, row) for row in refused_rows(result.files)],
        },
        volumes=[_in(job.section, row.nifti) for row in result.manifest if row.nifti],
        refused=entry is None or _has_refused(result) or any(fault.code in LOST_POINTS for fault in faults),
    )


def _has_refused(result: JobResult) -> bool:
    statuses = {*(row.status for row in result.manifest), *(row.status for row in result.files)}
    return "refused" in statuses


def _point_row(point: PlacedPoint) -> list[str]:
    mark = point.mark
    place = [point.place.nifti, "" if point.place.k is None else str(point.place.k)]
    error = "" if point.error is None else f"{point.error:.6f}"
    world = [f"{value:.4f}" for value in point.world]
    return [mark.study, mark.finding.name, mark.series, mark.instance, str(mark.x), str(mark.y), *place, *world, error]


def _unlisted_faults(rsna: Path, training: Training, test: Sequence[StudyTables]) -> set[Fault]:
    """Studies that only other tables or folders have, and files beside the studies' folders."""
    listed = {TRAINING: {study.study for study in training.studies}, TEST: {study.study for study in test}}
    tables = {TRAINING: TRAIN, TEST: TEST_SERIES}
    faults = {Fault(Code.UNKNOWN_STUDY, f"not in {TRAIN}", study=study) for study in training.unlisted}
    for section in (TRAINING, TEST):
        folder = rsna / IMAGES[section]
        if not listed[section] or not folder.is_dir():
            continue
        with os.scandir(folder) as scan:
            entries = list(scan)
        unlisted = {entry.name for entry in entries if entry.is_dir()} - listed[section]
        faults |= {Fault(Code.UNKNOWN_STUDY, f"not in {tables[section]}", study=study) for study in unlisted}
        stray = sum(entry.is_file() for entry in entries)
        if stray:
            faults.add(Fault(Code.STRAY_FILES, f"{counted(stray, 'file')} directly in {folder.name}"))
    return faults
