"""Cells of a CSV → labels: one class an image, several joined by a separator, or a column of 0 and 1 per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data_prep.collection.csv_tables import raise_faults
from data_prep.images.mapping import mapped, read_mapping
from data_prep.images.sample import ordered_classes, task_of
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, listed
from monai_spine.images.data.datalist import UNKNOWN, Task

Label = int | tuple[int, ...]
_FLAGS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0, "": UNKNOWN, "-1": UNKNOWN, "-1.0": UNKNOWN}
"""What a cell of a class's own column may hold; nothing, and -1, leave it unknown."""


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
        What such a cell says if no class applies; an empty cell says the same.
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


def read_labels(table: pd.DataFrame, wanted: LabelColumns, where: Path) -> Labels:
    """Labels of all rows.

    Raises
    ------
    InvalidOptionError
        If both kinds of columns were named, or none.
    MissingInputError
        If a column is not there.
    InvalidTableError
        If a label is outside of the classes, or a cell is none; the message lists them.
    """
    if bool(wanted.columns) == (wanted.joined is not None):
        raise InvalidOptionError("expected either --label-column, once or repeated, or --labels-column")
    check_columns(table, wanted.names, where)
    if wanted.joined is not None:
        return _joined(table[wanted.joined], wanted, where)
    if len(wanted.columns) > 1:
        return _flags(table[list(wanted.columns)], wanted, where)
    return _single(table[wanted.columns[0]], wanted, where)


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


def _single(cells: pd.Series[str], wanted: LabelColumns, where: Path) -> Labels:
    raise_faults(where, [f"row {int(row) + 2}: no label in {cells.name}" for row in cells.index[cells == ""]])
    class_of = _merged(set(cells), wanted, where)
    classes = ordered_classes((name for name in class_of.values() if name), wanted.classes, where)
    number = {name: n for n, name in enumerate(classes)}
    return Labels(classes, task_of(classes), [number.get(class_of[cell]) for cell in cells])


def _joined(cells: pd.Series[str], wanted: LabelColumns, where: Path) -> Labels:
    if not wanted.separator:
        raise InvalidOptionError("expected a --separator of one character or more")
    rows = [
        [name for name in map(str.strip, cell.split(wanted.separator)) if name and name != wanted.nothing]
        for cell in cells
    ]
    class_of = _merged({name for names in rows for name in names}, wanted, where)
    classes = ordered_classes((name for name in class_of.values() if name), wanted.classes, where)
    held = [{class_of[name] for name in names} for names in rows]
    return Labels(classes, Task.MULTILABEL, [tuple(int(name in names) for name in classes) for names in held])


def _flags(cells: pd.DataFrame, wanted: LabelColumns, where: Path) -> Labels:
    if wanted.mapping is not None:
        raise InvalidOptionError("--mapping merges class names, and a column per class has none: leave one of them out")
    classes = ordered_classes(wanted.columns, wanted.classes or wanted.columns, where)
    values = {name: [_FLAGS.get(cell.lower()) for cell in cells[name]] for name in wanted.columns}
    faults = [
        f"row {row + 2}: {name} is {cells[name].iloc[row]!r}, expected 1, 0, or nothing (unknown)"
        for name, column in values.items()
        for row, value in enumerate(column)
        if value is None
    ]
    raise_faults(where, faults)
    columns = [values.get(name, [UNKNOWN] * len(cells)) for name in classes]
    rows = zip(*columns, strict=True)
    return Labels(classes, Task.MULTILABEL, [tuple(UNKNOWN if v is None else v for v in row) for row in rows])


def _merged(names: set[str], wanted: LabelColumns, where: Path) -> dict[str, str]:
    if wanted.mapping is None:
        if not names:
            raise InvalidTableError(f"{where}: expected labels in {listed(wanted.names)}, but found none")
        return {name: name for name in names}
    return mapped(names, read_mapping(wanted.mapping), where)
