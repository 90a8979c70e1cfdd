"""Labels of single images from a CSV: one class an image, several joined by a separator, or a column per class.

A mapping, a second CSV, merges classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data_prep.collection.csv_tables import raise_faults, read_csv
from data_prep.images.sample import SHOWN, ordered_classes, task_of
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, listed
from monai_spine.images.data.datalist import UNKNOWN, Task

Label = int | tuple[int, ...]
_FLAGS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0, "": UNKNOWN, "-1": UNKNOWN, "-1.0": UNKNOWN}
"""Values of a cell in a class's own column; an empty cell and -1 mean unknown."""


@dataclass(frozen=True)
class LabelColumns:
    """Where a table has its labels.

    Attributes
    ----------
    columns
        One column of class names, or a column of 0 and 1 for each class.
    joined
        Instead of these, a column of class names joined by ``separator``.
    nothing
        The text of such a cell if no class applies; an empty cell means the same.
    classes
        All classes there may be, in the order of their numbers.
    mapping
        A table that merges classes.
    """

    columns: tuple[str, ...] = ()
    joined: str | None = None
    separator: str = "|"
    nothing: str = "No Finding"
    classes: tuple[str, ...] = ()
    mapping: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that must be there."""
        return self.columns if self.joined is None else (self.joined,)


@dataclass(frozen=True)
class Labels:
    """A label per row; None for a row whose class is left out."""

    classes: tuple[str, ...]
    task: Task
    rows: list[Label | None]


def read_labels(table: pd.DataFrame, columns: LabelColumns, where: Path) -> Labels:
    """Labels of all rows.

    Raises
    ------
    InvalidOptionError
        If both ways to name columns were used, or neither.
    MissingInputError
        If a column is not there.
    InvalidTableError
        If a label is outside of the classes, or a cell is none; the message lists them.
    """
    if bool(columns.columns) == (columns.joined is not None):
        raise InvalidOptionError("expected either --label-column, once or repeated, or --labels-column")
    check_columns(table, columns.names, where)
    if columns.joined is not None:
        return _joined(table[columns.joined], columns, where)
    if len(columns.columns) > 1:
        return _flags(table[list(columns.columns)], columns, where)
    return _single(table[columns.columns[0]], columns, where)


def check_columns(table: pd.DataFrame, names: Sequence[str], where: Path) -> None:
    """Make sure that columns are there.

    Raises
    ------
    MissingInputError
        If one is not.
    """
    lacking = [name for name in names if name not in table.columns]
    if lacking:
        raise MissingInputError(
            f"{where}: expected the columns {listed(lacking)}, but found {listed(list(table.columns), shown=20)}"
        )


def _single(cells: pd.Series[str], columns: LabelColumns, where: Path) -> Labels:
    raise_faults(where, [f"row {int(row) + 2}: no label in {cells.name}" for row in cells.index[cells == ""]])
    class_of = _merged(set(cells), columns, where)
    classes = ordered_classes((name for name in class_of.values() if name), columns.classes, where)
    number = {name: n for n, name in enumerate(classes)}
    return Labels(classes, task_of(classes), [number.get(class_of[cell]) for cell in cells])


def _joined(cells: pd.Series[str], columns: LabelColumns, where: Path) -> Labels:
    if not columns.separator:
        raise InvalidOptionError("expected a --separator of one character or more")
    rows = [
        [name for name in map(str.strip, cell.split(columns.separator)) if name and name != columns.nothing]
        for cell in cells
    ]
    class_of = _merged({name for names in rows for name in names}, columns, where)
    classes = ordered_classes((name for name in class_of.values() if name), columns.classes, where)
    mapped_rows = [{class_of[name] for name in names} for names in rows]
    return Labels(classes, Task.MULTILABEL, [tuple(int(name in names) for name in classes) for names in mapped_rows])


def _flags(cells: pd.DataFrame, columns: LabelColumns, where: Path) -> Labels:
    if columns.mapping is not None:
        raise InvalidOptionError("--mapping merges class names, and a column per class has none: leave one of them out")
    classes = ordered_classes(columns.columns, columns.classes or columns.columns, where)
    values = {name: [_FLAGS.get(cell.lower()) for cell in cells[name]] for name in columns.columns}
    faults = [
        f"row {row + 2}: {name} is {cells[name].iloc[row]!r}, expected 1, 0, or nothing (unknown)"
        for name, column in values.items()
        for row, value in enumerate(column)
        if value is None
    ]
    raise_faults(where, faults)
    rows = zip(*(values.get(name, [UNKNOWN] * len(cells)) for name in classes), strict=True)
    return Labels(classes, Task.MULTILABEL, [tuple(UNKNOWN if v is None else v for v in row) for row in rows])


def _merged(names: set[str], columns: LabelColumns, where: Path) -> dict[str, str]:
    if columns.mapping is None:
        if not names:
            raise InvalidTableError(f"{where}: expected labels in {listed(columns.names)}, but found none")
        return {name: name for name in names}
    return mapped(names, read_mapping(columns.mapping), where)


def read_mapping(path: Path) -> dict[str, str]:
    """Class by name: the first column holds the names, the second their classes; an empty class leaves a name out.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InvalidTableError
        If it has fewer than two columns, or a name twice.
    """
    table = read_csv(path, "a mapping with two columns: name, class")
    if table.shape[1] < 2:
        raise InvalidTableError(f"{path}: expected two columns, a name and its class, but found {list(table.columns)}")
    names, classes = table.iloc[:, 0], table.iloc[:, 1]
    repeated = sorted(set(names[names.duplicated()]))
    raise_faults(path, [f"{name!r} is listed twice" for name in repeated])
    return dict(zip(names, classes, strict=True))


def mapped(names: Iterable[str], mapping: dict[str, str], where: Path) -> dict[str, str]:
    """The class of each name.

    Raises
    ------
    InvalidTableError
        If the mapping does not know a name; the message lists them all.
    """
    names = list(names)
    unknown = sorted({name for name in names if name not in mapping})
    if unknown:
        raise InvalidTableError(
            f"{where}: expected every class in the mapping, but {listed(unknown, shown=SHOWN)} are not there; "
            "add them, with an empty class to leave them out"
        )
    return {name: mapping[name] for name in names}
