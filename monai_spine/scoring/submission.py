"""Tables of labels and of predictions: the competition's CSV files, read strictly and written sorted.

Study ids are strings everywhere, because ids of the competition exceed 32 bits. Rows are matched by name: the order of
a submission is alphabetical, which is not the order of ``train.csv``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from monai_spine.csv_cells import read_text_table
from monai_spine.errors import InvalidTableError, MissingInputError, listed
from monai_spine.files import csv_text, write_text
from monai_spine.scoring.competition import Floats, Ints, level_prior, uniform_rows
from monai_spine.scoring.prevalence import normalised
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade, parse_row_id

if TYPE_CHECKING:
    import pandas as pd

GRADE_COLUMNS = [grade.column for grade in Grade]
_GRADES = {grade.title: int(grade) for grade in Grade}


@dataclass(frozen=True)
class Labels:
    """Graded studies: ``grades`` is ``(studies, 25)`` with 0, 1, 2 or `MISSING`."""

    study_ids: tuple[str, ...]
    grades: Ints


@dataclass(frozen=True)
class Predictions:
    """Predictions: ``probabilities`` is ``(studies, 25, 3)``; ``filled`` counts the labelled rows that were missing."""

    study_ids: tuple[str, ...]
    probabilities: Floats
    filled: int


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV with every cell as a string.

    Raises `MissingInputError` or `InvalidTableError` if the file does not exist, or is not a CSV.
    """
    if not path.is_file():
        raise MissingInputError(f"expected a CSV file, but there is none at {path}")
    return read_text_table(path)


def read_labels(path: Path) -> Labels:
    """Read a solution, in the form of ``train.csv`` or of the competition's hidden solution (one-hot ``row_id`` rows).

    Raises `MissingInputError` or `InvalidTableError` if the file or a column is missing, a study or a row occurs twice,
    or a label is not one of the grades.
    """
    table = read_table(path)
    if "row_id" in table.columns:
        return _labels_from_rows(table, path)
    _need_columns(table, ["study_id", *TARGETS], path)
    _refuse_duplicates(table["study_id"], path)
    words = table[list(TARGETS)]
    unknown = sorted({word for word in np.unique(words.to_numpy().astype(str)) if word and word not in _GRADES})
    if unknown:
        raise InvalidTableError(f"{path}: expected the labels {list(_GRADES)} or nothing, but found {unknown[:5]}")
    grades = words.map(lambda word: _GRADES.get(word, MISSING)).to_numpy(dtype=np.int64)
    return Labels(tuple(table["study_id"]), grades)


def read_predictions(path: Path, solution: Labels, missing: Literal["uniform", "prior"] | None = None) -> Predictions:
    """Read a submission for the studies of a solution.

    Rows are normalised. A row of a study that the solution lacks raises an error. So does a missing row whose finding
    has a label, unless ``missing`` says how to fill it.

    ``missing``: fill missing rows with a third for each grade, or with the solution's per-level prior. None raises an
    error.
    Raises `MissingInputError` or `InvalidTableError` if the file or a column is missing, or a row is unknown, missing,
    given twice or not three probabilities.
    """
    table = read_table(path)
    _need_columns(table, ["row_id", *GRADE_COLUMNS], path)
    _refuse_duplicates(table["row_id"], path)
    cells = _cells(table["row_id"].tolist(), solution.study_ids, path)
    unknown = [row_id for row_id, cell in zip(table["row_id"], cells, strict=True) if cell is None]
    if unknown:
        raise InvalidTableError(
            f"{path} has {_count(unknown)} for studies that the solution does not hold: {listed(unknown)}"
        )
    probabilities = np.full((len(solution.study_ids), len(FINDINGS), len(Grade)), np.nan)
    studies, findings = np.array(cells, dtype=np.intp).reshape(-1, 2).T
    probabilities[studies, findings] = _numbers(table, path)
    return _filled(probabilities, solution, missing, path)


def write_predictions(
    path: Path, study_ids: Sequence[str], probabilities: Floats, present: npt.NDArray[np.bool_] | None = None
) -> None:
    """Write a submission, normalised and sorted.

    ``probabilities``: ``(studies, 25, 3)``.
    ``present``: ``(studies, 25)``: the rows to write; all of them if None.
    """
    written = np.ones((len(study_ids), len(FINDINGS)), dtype=np.bool_) if present is None else present
    names = np.array([[finding.row_id(study_id) for finding in FINDINGS] for study_id in study_ids], dtype=object)
    rows = zip(names.reshape(written.shape)[written], normalised(probabilities)[written], strict=True)
    # Nine digits, so that a score from the file and one from memory agree to 1e-8.
    cells = [(name, *(f"{value:.9g}" for value in row)) for name, row in sorted(rows, key=lambda pair: str(pair[0]))]
    write_text(path, csv_text([("row_id", *GRADE_COLUMNS), *cells]))


def _labels_from_rows(table: pd.DataFrame, path: Path) -> Labels:
    _need_columns(table, GRADE_COLUMNS, path)
    _refuse_duplicates(table["row_id"], path)
    try:
        parsed = [parse_row_id(row_id) for row_id in table["row_id"]]
    except ValueError as err:
        raise InvalidTableError(f"{path}: {err}") from err
    rows = _numbers(table, path)
    wrong = table["row_id"][~np.isin(rows, [0, 1]).all(axis=1) | (rows.sum(axis=1) != 1)]
    if len(wrong):
        raise InvalidTableError(
            f"{path}: expected one 1 and two 0 in each row, but found others in {listed(list(wrong))}"
        )
    # The hidden solution has rows for labelled findings only: a row that is absent is a missing label.
    place = {study_id: n for n, study_id in enumerate(dict.fromkeys(study_id for study_id, _ in parsed))}
    grades = np.full((len(place), len(FINDINGS)), MISSING, dtype=np.int64)
    for (study_id, finding), row in zip(parsed, rows, strict=True):
        grades[place[study_id], FINDINGS.index(finding)] = int(row.argmax())
    return Labels(tuple(place), grades)


def _numbers(table: pd.DataFrame, path: Path) -> Floats:
    import pandas as pd  # imported here, since predict writes tables and reads none

    values = table[GRADE_COLUMNS].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1) | (values.sum(axis=1) <= 0)
    if wrong.any():
        names = list(table["row_id"][wrong])
        raise InvalidTableError(
            f"{path}: expected numbers of 0 or more, not all 0, but found others in {listed(names)}"
        )
    return values


def _cells(row_ids: Sequence[str], study_ids: Sequence[str], path: Path) -> list[tuple[int, int] | None]:
    """Study and finding of each row, or None where the study is not one of ``study_ids``."""
    places = {
        f"{study_id}_{target}": (study, finding)
        for study, study_id in enumerate(study_ids)
        for finding, target in enumerate(TARGETS)
    }
    cells = [places.get(row_id) for row_id in row_ids]
    try:
        # A row id that is no finding at all gets its own message, before those of unknown studies.
        for row_id, cell in zip(row_ids, cells, strict=True):
            if cell is None:
                parse_row_id(row_id)
    except ValueError as err:
        raise InvalidTableError(f"{path}: {err}") from err
    return cells


def _filled(probabilities: Floats, solution: Labels, missing: str | None, path: Path) -> Predictions:
    absent = np.isnan(probabilities[..., 0])
    # A row without a label does not count in the score, so it may be missing.
    needed = absent & (solution.grades != MISSING)
    if needed.any() and missing is None:
        names = [
            FINDINGS[finding].row_id(solution.study_ids[study])
            for study, finding in zip(*np.nonzero(needed), strict=True)
        ]
        raise InvalidTableError(
            f"{path} lacks {_count(names)} of the solution: {listed(names)}; add them, or use --missing prior; "
            "`monai-spine metrics` measures the rows that are there"
        )
    constant = level_prior(solution.grades) if missing == "prior" else uniform_rows()
    rows = np.where(absent[..., None], constant, np.nan_to_num(probabilities))
    return Predictions(solution.study_ids, normalised(rows), int(needed.sum()))


def _need_columns(table: pd.DataFrame, columns: list[str], path: Path) -> None:
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise InvalidTableError(
            f"{path}: expected the columns {listed(columns)}, but found {listed(list(table.columns))} "
            f"and no {listed(absent)}"
        )


def _refuse_duplicates(names: pd.Series, path: Path) -> None:
    twice = sorted(set(names[names.duplicated()]))
    if twice:
        raise InvalidTableError(f"{path}: expected each {names.name} once, but found {listed(twice)} more than once")


def _count(names: list[str]) -> str:
    return f"{len(names)} row{'s' if len(names) > 1 else ''}"
