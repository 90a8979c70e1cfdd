"""The table of a user's own studies, and the tables of labels and points beside it: read, checked, joined.

One error lists the faults of all tables, each with its row as a spreadsheet counts it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from data_prep.collection import csv_tables
from data_prep.study_table import spelling
from monai_spine.errors import MissingInputError
from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Finding, SeriesType

if TYPE_CHECKING:
    import pandera.pandas as pa

Labels = dict[str, dict[Finding, int]]
"""Grades of each study."""


@dataclass(frozen=True)
class SeriesRow:
    """A row of the table: ``number`` as a spreadsheet counts it, ``series_type`` None where the user gave none."""

    number: int
    path: Path
    series_type: SeriesType | None


@dataclass(frozen=True)
class TableStudy:
    """A study of the table."""

    study: str
    patient: str
    """The first study of the same patient: no other name of the patient leaves the table."""
    rows: tuple[SeriesRow, ...]
    labels: tuple[int, ...] | None
    """25 grades in the order of ``TARGETS``; None if nobody graded the study."""
    points: Mapping[Finding, Array]
    """RAS mm."""


@dataclass(frozen=True)
class StudyTable:
    """All studies in the order of their first rows, and columns that were not understood."""

    studies: tuple[TableStudy, ...]
    ignored: tuple[str, ...]
    has_patients: bool

    def notes(self) -> list[str]:
        """What the user should know of how the table was understood."""
        ignored = [f"columns not used: {', '.join(self.ignored)}"] if self.ignored else []
        alone = "no column for the patient: every study is taken for a patient of its own"
        return ignored if self.has_patients else [*ignored, alone]


def read_study_table(path: Path, labels: Path | None = None, points: Path | None = None) -> StudyTable:
    """Read the table, and the tables of labels and points where there are any.

    Raises `MissingInputError` if a table or a column that it must have is not there.
    Raises `InvalidTableError` if anything in the tables breaks their format.
    """
    main = _read(path, {"study", "path"}, [])
    label_table = (
        None if labels is None else _read(labels, {"study"}, [{"finding"}, {"condition", "level"}, set(TARGETS)])
    )
    point_table = None if points is None else _read_points(points)
    tables = [table for table in (main, label_table, point_table) if table is not None]
    faults = [fault for table in tables for fault in table.faults()]
    known = set(main.rows["study"])
    for table in tables[1:]:
        faults += table.each_row(
            lambda row: "" if row["study"] in known else f"study {row['study']!r} is not in {path.name}"
        )
    faults += _row_faults(main, path.parent)
    grades = _Grades(faults)
    grades.add_wide(main)
    if label_table is not None:
        grades.add(label_table)
    places = _points(point_table, faults)
    csv_tables.raise_faults(path.parent, faults)
    return _joined(main, grades.by_study, places, path.parent, [name for table in tables for name in table.ignored])


def read_points(path: Path) -> dict[str, dict[Finding, Array]]:
    """A table of points by itself: RAS mm of each study. It is written by hand, or by ``monai-spine locate``.

    Raises
    ------
    MissingInputError, InvalidTableError
        As `read_study_table`.
    """
    table = _read_points(path)
    faults = table.faults()
    points = _points(table, faults)
    csv_tables.raise_faults(path.parent, faults)
    return dict(points)


def _read_points(path: Path) -> _Table:
    return _read(path, {"study", "x", "y", "z"}, [{"finding"}, {"condition", "level"}, {"point", "level"}])


@dataclass(frozen=True)
class _Table:
    """A table with our names of its columns, and what is wrong with the columns themselves."""

    name: str
    rows: pd.DataFrame
    column_faults: tuple[str, ...]
    ignored: tuple[str, ...]

    def faults(self) -> list[str]:
        return [*self.column_faults, *csv_tables.faults(self.rows, _schema(list(self.rows.columns)), self.name)]

    def each(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Rows with their numbers."""
        rows = self.rows.to_dict("records")
        return ((n, {str(key): cell for key, cell in row.items()}) for n, row in enumerate(rows, start=2))

    def each_row(self, problem: Callable[[dict[str, str]], str]) -> list[str]:
        """A fault for each row that a function finds one in."""
        problems = ((n, problem(row)) for n, row in self.each())
        return [f"{self.name} row {n}: {text}" for n, text in problems if text]


def _read(path: Path, needed: set[str], one_of: Sequence[set[str]]) -> _Table:
    """A table whose columns have our names; others are dropped."""
    raw = csv_tables.read_csv(path, "a CSV of your own studies; see docs/how-to/data.md")
    columns, faults, ignored = spelling.columns_of(map(str, raw.columns))
    absent = sorted(needed - set(columns))
    if absent:
        spelt = "; ".join(f"{name!r} (or {', '.join(spelling.COLUMNS[name][1:])})" for name in absent)
        raise MissingInputError(f"{path}: expected the columns {spelt}, but found {list(raw.columns)}")
    if one_of and not any(group & set(columns) for group in one_of):
        spelt = ", or ".join("the 25 of train.csv" if len(g) > 2 else " and ".join(sorted(g)) for g in one_of)
        raise MissingInputError(f"{path}: expected the columns {spelt}, but found {list(raw.columns)}")
    rows = raw.rename(columns={theirs: ours for ours, theirs in columns.items()})[list(columns)]
    return _Table(path.name, rows, tuple(f"{path.name}: {fault}" for fault in faults), tuple(ignored))


def _schema(columns: Sequence[str]) -> pa.DataFrameSchema:
    import pandera.pandas as pa

    def spelt(known: Callable[[str], object], expected: str) -> pa.Column:
        return pa.Column(str, pa.Check(lambda cell: known(cell) is not None, element_wise=True, error=expected))

    grade = "Normal/Mild, Moderate, Severe, 0, 1, 2 or nothing"
    series_types = f"one of {[series_type.title for series_type in SeriesType]} or nothing"
    columns_known: dict[str, pa.Column] = {
        "study": pa.Column(str, csv_tables.name_check()),
        "path": pa.Column(str, pa.Check.str_length(min_value=1, error="a path")),
        "series_type": spelt(lambda cell: spelling.series_type_named(cell) if cell else cell, series_types),
        "grade": spelt(spelling.grade_named, grade),
        "finding": spelt(spelling.finding_named, f"one of the 25 findings, such as {TARGETS[0]}"),
        **dict.fromkeys(TARGETS, spelt(spelling.grade_named, grade)),
        **dict.fromkeys(("x", "y", "z"), csv_tables.number_column()),
    }
    return pa.DataFrameSchema({name: columns_known[name] for name in columns if name in columns_known})


def _row_faults(main: _Table, folder: Path) -> list[str]:
    """Paths that do not exist or are listed twice, and studies of two patients."""
    row_of_path: dict[Path, int] = {}
    patients: dict[str, tuple[int, str]] = {}
    faults = []
    for n, row in main.each():
        path = folder / row["path"]
        first = row_of_path.setdefault(path.resolve(), n)
        owner, patient = patients.setdefault(row["study"], (n, row.get("patient", "")))
        if row["path"] and not path.exists():
            faults.append(
                f"{main.name} row {n}: path is {row['path']!r}, but there is no such file or folder in {folder}"
            )
        if first != n:
            faults.append(f"{main.name} row {n}: the same path as row {first}")
        if row.get("patient", "") != patient:
            faults.append(f"{main.name} row {n}: another patient than in row {owner}, which is of the same study")
        if "patient" in row and not row["patient"]:
            faults.append(f"{main.name} row {n}: no patient, although the table has a column for it")
    return faults


class _Grades:
    """Grades from wide and long tables; one that is given twice must be the same."""

    def __init__(self, faults: list[str]) -> None:
        self.by_study: Labels = defaultdict(dict)
        self._faults = faults

    def add(self, table: _Table) -> None:
        """A table of labels: long if it has a grade, else wide."""
        if "grade" in table.rows.columns:
            self._add_long(table)
        else:
            self.add_wide(table)

    def add_wide(self, table: _Table) -> None:
        """A column for each finding."""
        targets = [(finding, finding.name) for finding in FINDINGS if finding.name in table.rows.columns]
        for n, row in table.each():
            for finding, target in targets:
                self._set(table.name, n, row["study"], finding, spelling.grade_named(row[target]))

    def _add_long(self, table: _Table) -> None:
        for n, row in table.each():
            finding = _finding(table, n, row, self._faults)
            if finding is not None:
                self._set(table.name, n, row["study"], finding, spelling.grade_named(row["grade"]))

    def _set(self, name: str, n: int, study: str, finding: Finding, grade: int | None) -> None:
        if grade is None or grade == MISSING:
            return
        known = self.by_study[study].setdefault(finding, grade)
        if known != grade:
            self._faults.append(
                f"{name} row {n}: {finding.name} of study {study} is {grade}, but {known} in another row"
            )


def _finding(table: _Table, n: int, row: Mapping[str, str], faults: list[str]) -> Finding | None:
    """The finding of a row of a long table."""
    if "finding" in row:
        return spelling.finding_named(row["finding"])
    level = row.get("level", "")
    if "point" in row:
        words = f"{row['point']} {row.get('side', '')}".strip()
        finding = spelling.finding_at(row["point"], level, row.get("side", ""))
    else:
        words = row.get("condition", "")
        finding = spelling.finding_of(words, level)
    if finding is None:
        spelt = f"{words!r} at {level!r}"
        faults.append(
            f"{table.name} row {n}: {spelt} is none of the 25 findings, such as 'Spinal Canal Stenosis' at 'L4/L5'"
        )
    return finding


def _points(table: _Table | None, faults: list[str]) -> dict[str, dict[Finding, Array]]:
    """Points of each study, RAS mm."""
    points: dict[str, dict[Finding, Array]] = defaultdict(dict)
    if table is None:
        return points
    for n, row in table.each():
        finding = _finding(table, n, row, faults)
        if finding is None or not all(csv_tables.is_finite(row[axis]) for axis in "xyz"):
            continue
        if finding in points[row["study"]]:
            faults.append(f"{table.name} row {n}: a second point of {finding.name} of study {row['study']}")
        points[row["study"]][finding] = np.array([float(row[axis]) for axis in "xyz"])
    return points


def _joined(
    main: _Table, grades: Labels, points: Mapping[str, Any], folder: Path, ignored: Sequence[str]
) -> StudyTable:
    rows: dict[str, list[SeriesRow]] = defaultdict(list)
    owners: dict[str, str] = {}
    for n, row in main.each():
        series_type = spelling.series_type_named(row.get("series_type", ""))
        rows[row["study"]].append(SeriesRow(n, folder / row["path"], series_type))
        owners.setdefault(row["study"], row.get("patient") or row["study"])
    first: dict[str, str] = {}
    for study, owner in owners.items():
        first.setdefault(owner, study)
    studies = tuple(
        TableStudy(study, first[owners[study]], tuple(own), _label(grades.get(study)), points.get(study, {}))
        for study, own in rows.items()
    )
    return StudyTable(studies, tuple(ignored), "patient" in main.rows.columns)


def _label(grades: Mapping[Finding, int] | None) -> tuple[int, ...] | None:
    return tuple(grades.get(finding, MISSING) for finding in FINDINGS) if grades else None
