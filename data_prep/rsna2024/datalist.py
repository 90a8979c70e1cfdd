"""The layout of the RSNA 2024 competition: DICOM folders and tables in, volumes, ``datalist.json`` and points out."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep import folds as folding
from data_prep.dicom.convert import convert
from data_prep.dicom.nifti import write_atomically
from data_prep.rsna2024.faults import Fault, FaultKind
from data_prep.rsna2024.label_points import PlacedPoint
from data_prep.rsna2024.labels import TEST_SERIES, TRAIN, StudyTables, Training, read_test, read_training
from data_prep.rsna2024.studies import ConvertedStudy, Entry, assemble, read_conversion
from data_prep.workers import run as run_all
from monai_spine.console import track
from monai_spine.errors import ExitCode, MissingInputError
from monai_spine.spine import TARGETS

SCHEMA = "monai_spine/datalist/1"
DATALIST = "datalist.json"
TEST_FOLDER = "test"
POINT_COLUMNS = (
    "study_id", "target", "series_id", "instance_number", "column", "row", "nifti", "k", "x", "y", "z", "error_px",
)  # fmt: skip
QUALITY_COLUMNS = ("study_id", "series_id", "target", "kind", "detail")


@dataclass(frozen=True)
class Collection:
    """What became of a collection: entries of the two sections, points in patient space, and all faults."""

    training: list[Entry]
    test: list[Entry]
    points: list[PlacedPoint]
    faults: list[Fault]
    refused: bool

    @property
    def exit_code(self) -> ExitCode:
        """``DONE``, or ``SOME_REFUSED`` when a study was left out or the converter refused something."""
        return ExitCode.SOME_REFUSED if self.refused else ExitCode.DONE

    def line(self) -> str:
        """One line for people."""
        kinds = Counter(fault.kind.value for fault in self.faults)
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "no faults"
        studies = f"{len(self.training)} training and {len(self.test)} test studies, {len(self.points)} points"
        return f"{studies}; {found}"


def build(
    rsna: Path,
    out: Path,
    *,
    folds: int = 5,
    seed: int = 0,
    workers: int = 1,
    resume: bool = False,
    quiet: bool = False,
) -> Collection:
    """Convert a collection and write ``datalist.json``, ``points.csv``, ``quality.csv`` and ``folds.csv`` to ``out``.

    Parameters
    ----------
    rsna
        Folder with ``train.csv`` and its companions, or with the test files alone.
    folds, seed
        Of the cross-validation; a patient is a study here.
    resume
        Keep volumes that an interrupted run finished.

    Raises
    ------
    MissingInputError
        If a table, a column or the images are not there.
    InvalidTableError
        If a table breaks its format.
    InvalidOptionError
        If there are too few patients for the folds.
    """
    training, test = _read(rsna)
    folding.check_number(folds, len(training.studies))
    run = functools.partial(_section, out=out, workers=workers, resume=resume, quiet=quiet)
    first = run(training.studies, rsna / "train_images", out)
    second = run(test, rsna / "test_images", out / TEST_FOLDER)
    collection = _collection(training, first, second)
    _write(out, _with_folds(collection.training, folds, seed), collection)
    return collection


@dataclass(frozen=True)
class _Section:
    entries: tuple[Entry, ...] = ()
    points: tuple[PlacedPoint, ...] = ()
    faults: tuple[Fault, ...] = ()
    strangers: tuple[str, ...] = ()
    refused: bool = False


def _read(rsna: Path) -> tuple[Training, list[StudyTables]]:
    """The tables of what is there: the training section, the test section, or both."""
    if not rsna.is_dir():
        raise MissingInputError(f"there is no folder {rsna}; expected one in the layout of the RSNA 2024 competition")
    test = read_test(rsna) if _has_files(rsna / "test_images") else []
    if (rsna / TRAIN).is_file() or not test:
        training = read_training(rsna)
        if not _has_files(rsna / "train_images"):
            raise MissingInputError(f"{rsna / 'train_images'}: expected a folder with DICOM files of {TRAIN}'s studies")
        return training, test
    return Training((), ()), test


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def _section(
    studies: Sequence[StudyTables], images: Path, converted: Path, *, out: Path, workers: int, resume: bool, quiet: bool
) -> _Section:
    """Convert a section's images, and join every study's tables to what the converter made of it."""
    if not studies:
        return _Section()
    summary = convert(images, converted, name_by="folder", workers=workers, resume=resume, quiet=quiet)
    conversion = read_conversion(converted)
    jobs = [(n, study, conversion.pop(study.study, ConvertedStudy())) for n, study in enumerate(studies)]
    work = functools.partial(_numbered, images=images, converted=converted, out=out)
    done = sorted(track(run_all(work, jobs, workers), "points", len(jobs), quiet), key=lambda result: result[0])
    return _Section(
        entries=tuple(entry for _, entry, _, _ in done if entry is not None),
        points=tuple(point for _, _, points, _ in done for point in points),
        faults=tuple(fault for *_, faults in done for fault in faults),
        strangers=tuple(conversion),
        refused=summary.exit_code is not ExitCode.DONE,
    )


def _numbered(
    job: tuple[int, StudyTables, ConvertedStudy], images: Path, converted: Path, out: Path
) -> tuple[int, Entry | None, list[PlacedPoint], list[Fault]]:
    number, study, conversion = job
    return number, *assemble(study, conversion, images, converted, out)


def _collection(training: Training, first: _Section, second: _Section) -> Collection:
    strangers = {*training.unknown, *first.strangers}
    faults = [Fault(study, "", "", FaultKind.UNKNOWN_STUDY, f"not in {TRAIN}") for study in strangers]
    faults += [Fault(study, "", "", FaultKind.UNKNOWN_STUDY, f"not in {TEST_SERIES}") for study in second.strangers]
    faults += [*first.faults, *second.faults]
    left_out = any(fault.kind is FaultKind.NO_VOLUME for fault in faults)
    refused = first.refused or second.refused or left_out
    points = [*first.points, *second.points]
    return Collection(list(first.entries), list(second.entries), points, sorted(faults), refused)


def _with_folds(entries: Sequence[Entry], folds: int, seed: int) -> list[Entry]:
    """The training entries with their folds."""
    if not entries:
        return []
    patients = [str(entry["patient_id"]) for entry in entries]
    numbers = folding.assign(patients, _labels(entries), folds, seed)
    return [{**entry, "fold": fold} for entry, fold in zip(entries, numbers, strict=True)]


def _labels(entries: Sequence[Entry]) -> folding.Labels:
    return np.array([entry["label"] for entry in entries], dtype=np.int64)


def _write(out: Path, training: list[Entry], collection: Collection) -> None:
    """All files, the datalist last: where it stands, the others do."""
    points = [_point_row(point) for point in collection.points]
    faults = [(f.study_id, f.series_id, f.target, f.kind.value, f.detail) for f in collection.faults]
    _write_table(out / "points.csv", POINT_COLUMNS, points)
    _write_table(out / "quality.csv", QUALITY_COLUMNS, faults)
    if training:
        shares = folding.shares(_labels(training), [int(entry["fold"]) for entry in training])
        write_atomically(out / "folds.csv", [shares.to_csv().encode()])
    content = {"schema": SCHEMA, "targets": list(TARGETS), "training": training, "test": collection.test}
    write_atomically(out / DATALIST, [(json.dumps(content, indent=1) + "\n").encode()])


def _point_row(point: PlacedPoint) -> tuple[object, ...]:
    mark = point.mark
    place = (point.place.nifti, "" if point.place.k is None else point.place.k)
    error = "" if point.error is None else f"{point.error:.6f}"
    world = [f"{value:.4f}" for value in point.world]
    return (mark.study, mark.finding.name, mark.series, mark.instance, mark.x, mark.y, *place, *world, error)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomically(path, [text.getvalue().encode()])
