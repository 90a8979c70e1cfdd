"""The competition's tables, read as strings and checked: labels, series types and label points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from data_prep.collection import csv_tables
from monai_spine.errors import MissingInputError, listed
from monai_spine.spine import MISSING, TARGETS, Condition, Finding, Grade, Level, SeriesType

if TYPE_CHECKING:
    import pandera.pandas as pa

TRAIN = "train.csv"
POINTS = "train_label_coordinates.csv"
TRAIN_SERIES = "train_series_descriptions.csv"
TEST_SERIES = "test_series_descriptions.csv"

GRADES = {"": MISSING, **{grade.title: int(grade) for grade in Grade}}
SERIES_TYPES = {series_type.title: series_type for series_type in SeriesType}
CONDITIONS = {condition.title: condition for condition in Condition}
LEVELS = {level.title: level for level in Level}


@dataclass(frozen=True)
class LabelPoint:
    """A row of the coordinates table: ``x`` is a column and ``y`` a row of the slice as stored, in pixels."""

    study: str
    series: str
    instance: str
    finding: Finding
    x: float
    y: float


@dataclass(frozen=True)
class StudyTables:
    """The tables' rows of one study; ``labels`` has 25 entries in the order of ``TARGETS``."""

    study: str
    series: tuple[tuple[str, SeriesType], ...]
    labels: tuple[int, ...] | None = None
    points: tuple[LabelPoint, ...] = ()


@dataclass(frozen=True)
class Training:
    """The studies of ``train.csv`` in its order, and ``unlisted`` ones that only the other tables name."""

    studies: tuple[StudyTables, ...]
    unlisted: tuple[str, ...]


def read_training(folder: Path) -> Training:
    """Studies with their labels, series and points.

    Raises `MissingInputError` if a table or one of its columns is not there.
    Raises `InvalidTableError` if anything in the tables breaks their format; the message names all rows, up to a limit.
    """
    schemas = {
        folder / TRAIN: _train_schema(),
        folder / TRAIN_SERIES: _series_schema(),
        folder / POINTS: _points_schema(),
    }
    labels, series, points = _checked(schemas)
    by_study, marks = _series_by_study(series), _points_by_study(points)
    grades = labels[list(TARGETS)].apply(lambda column: column.map(GRADES)).to_numpy()
    studies = tuple(
        StudyTables(study, tuple(by_study.pop(study, ())), tuple(map(int, row)), tuple(marks.pop(study, ())))
        for study, row in zip(labels["study_id"], grades, strict=True)
    )
    return Training(studies, tuple(sorted({*by_study, *marks})))


def _points_by_study(points: pd.DataFrame) -> dict[str, list[LabelPoint]]:
    marks: dict[str, list[LabelPoint]] = {}
    for row in points.to_dict("records"):
        study, series, instance = row["study_id"], row["series_id"], row["instance_number"]
        finding = Finding(CONDITIONS[row["condition"]], LEVELS[row["level"]])
        marks.setdefault(study, []).append(
            LabelPoint(study, series, instance, finding, float(row["x"]), float(row["y"]))
        )
    return marks


def read_test(folder: Path) -> list[StudyTables]:
    """Studies of ``test_series_descriptions.csv`` in its order; empty if there is no such table.

    Raises `MissingInputError` or `InvalidTableError` as `read_training`.
    """
    path = folder / TEST_SERIES
    if not path.is_file():
        return []
    (series,) = _checked({path: _series_schema()})
    return [StudyTables(study, tuple(rows)) for study, rows in _series_by_study(series).items()]


def _series_by_study(series: pd.DataFrame) -> dict[str, list[tuple[str, SeriesType]]]:
    by_study: dict[str, list[tuple[str, SeriesType]]] = {}
    for row in series.to_dict("records"):
        series_type = SERIES_TYPES[row["series_description"]]
        by_study.setdefault(row["study_id"], []).append((row["series_id"], series_type))
    return by_study


def _checked(schemas: dict[Path, pa.DataFrameSchema]) -> list[pd.DataFrame]:
    """Read all tables; one error lists the faults of all of them."""
    tables = [csv_tables.read_csv(path, "a folder in the layout of the RSNA 2024 competition") for path in schemas]
    both = list(zip(tables, schemas.items(), strict=True))
    folder = next(iter(schemas)).parent
    absent = [
        f"{path.name} has no column {column!r}"
        for table, (path, schema) in both
        for column in schema.columns
        if column not in table.columns
    ]
    if absent:
        raise MissingInputError(f"{folder}: {listed(absent, '; ', csv_tables.SHOWN)}")
    csv_tables.raise_faults(folder, [f for t, (path, schema) in both for f in csv_tables.faults(t, schema, path.name)])
    return tables


def _train_schema() -> pa.DataFrameSchema:
    import pandera.pandas as pa

    grades = {target: csv_tables.one_of(list(GRADES)) for target in TARGETS}
    return pa.DataFrameSchema(
        {"study_id": pa.Column(str, [csv_tables.name_check(), csv_tables.unique_check()]), **grades}
    )


def _series_schema() -> pa.DataFrameSchema:
    import pandera.pandas as pa

    return pa.DataFrameSchema(
        {
            "study_id": pa.Column(str, csv_tables.name_check()),
            "series_id": pa.Column(str, csv_tables.name_check()),
            "series_description": csv_tables.one_of(list(SERIES_TYPES)),
        }
    )


def _points_schema() -> pa.DataFrameSchema:
    import pandera.pandas as pa

    return pa.DataFrameSchema(
        {
            "study_id": pa.Column(str, csv_tables.name_check()),
            "series_id": pa.Column(str, csv_tables.name_check()),
            "instance_number": pa.Column(str, pa.Check.str_matches(r"^\d+$", error="a whole number")),
            "condition": csv_tables.one_of(list(CONDITIONS)),
            "level": csv_tables.one_of(list(LEVELS)),
            "x": csv_tables.number_column(),
            "y": csv_tables.number_column(),
        }
    )
