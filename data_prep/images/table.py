"""A CSV with a row per image → samples.

Labels are one class an image, several joined by a separator, or a column per class. A mapping, a second CSV, merges
classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data_prep.collection.csv_tables import raise_faults, read_csv
from data_prep.images.folders import find_images
from data_prep.images.sample import SHOWN, ImageSet, Sample, Section, mapped, ordered_classes, read_mapping, task_of
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, counted, listed
from monai_spine.images.data.datalist import UNKNOWN, Task

Label = int | tuple[int, ...]
_FLAGS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0, "": UNKNOWN, "-1": UNKNOWN, "-1.0": UNKNOWN}
"""Values of a cell in a class's own column; an empty cell and -1 mean unknown."""


def read_table(
    path: Path,
    labels: LabelColumns,
    *,
    image_column: str = "image",
    patient_column: str | None = None,
    image_dir: Path | None = None,
    train_list: Path | None = None,
    test_list: Path | None = None,
    skip_missing: bool = False,
    excluded: Path | None = None,
) -> ImageSet:
    """The images of a table, found and labelled.

    Parameters
    ----------
    image_dir
        Folder that the names in the table are relative to, the table's own if None. A name without a folder may lie
        anywhere below it.
    train_list, test_list
        Text files with an image's name a line. Images of the training list are trained on and those of the test list
        are for testing; those in neither are left out, or with a test list alone, trained on.
    skip_missing
        Leave out images that are not there, instead of an error that lists them.
    excluded
        A folder below ``image_dir`` to skip.

    Raises
    ------
    MissingInputError
        If the table, a list, a column or an image is not there.
    InvalidTableError
        If an image is listed twice or in both lists, or a label is outside of the classes.
    """
    table = read_csv(path, "a table with a row per image")
    check_columns(table, [image_column, *([patient_column] if patient_column else [])], path)
    names = list(table[image_column])
    raise_faults(path, _name_faults(names))
    label_rows = read_labels(table, labels, path)
    root = (image_dir or path.parent).absolute()
    files = located(names, root, excluded)
    section_of, unlisted = _sections(names, train_list, test_list)
    otherwise = Section.TRAINING if train_list is None else None
    patients = list(table[patient_column]) if patient_column else [""] * len(names)
    samples, missing, notes = [], unlisted, Counter[str]()
    for name, label, patient in zip(names, label_rows.rows, patients, strict=True):
        section, file = section_of.get(name, otherwise), files[name]
        if section is None:
            notes["images stand in neither list and were left out"] += 1
        elif label is None:
            notes["images are of a class that the mapping leaves out"] += 1
        elif file is None:
            missing.append(name)
        else:
            samples.append(Sample((file,), label, section, patient))
    check_missing(missing, path, root, skip_missing)
    counted = [f"{count} {what}" for what, count in notes.items()]
    return ImageSet(label_rows.classes, label_rows.task, samples, root, missing=missing, notes=counted)


def check_missing(missing: Sequence[str], where: Path, root: Path, skip: bool) -> None:
    """Raise an error that lists all missing images, unless they are to be skipped.

    Raises `MissingInputError` if there are any.
    """
    if missing and not skip:
        names = "".join(f"\n  {name}" for name in missing)
        raise MissingInputError(
            f"{where}: {counted(len(missing), 'image')} missing (looked below {root}); restore "
            f"them, name another "
            f"--image-dir, or leave them out with --skip-missing:{names}"
        )


def located(names: Iterable[str], root: Path, excluded: Path | None = None) -> dict[str, Path | None]:
    """The file of each name: at its place below the root, else, for a name alone, anywhere below; None if nowhere.

    Raises `InvalidTableError` if several files have a name that is looked for.
    """
    files: dict[str, Path | None] = {name: root / name if (root / name).is_file() else None for name in names}
    lost = {name for name, file in files.items() if file is None and "/" not in name}
    if lost and root.is_dir():
        places: dict[str, list[Path]] = {}
        for file in find_images(root, excluded)[0]:
            for name in {file.name, file.stem} & lost:
                places.setdefault(name, []).append(file)
        several = [f"{name}: {listed([str(f.relative_to(root)) for f in p])}" for name, p in places.items() if p[1:]]
        raise_faults(root, [f"several files are called {one}; give the folder in the table" for one in several])
        files |= {name: place[0] for name, place in places.items()}
    return files


def _sections(
    names: Sequence[str], train_list: Path | None, test_list: Path | None
) -> tuple[dict[str, Section], list[str]]:
    """Sections by name, for the names in a list; and names of the lists that the table does not have."""
    train, test = (_read_list(path) if path else [] for path in (train_list, test_list))
    both = sorted(set(train) & set(test))
    if test_list is not None:
        raise_faults(test_list, [f"{name} is in the training list, too" for name in both])
    known = set(names)
    unknown = [f"{name} (in a list, but not in the table)" for name in [*train, *test] if name not in known]
    return dict.fromkeys(train, Section.TRAINING) | dict.fromkeys(test, Section.TEST), unknown


def _read_list(path: Path) -> list[str]:
    if not path.is_file():
        raise MissingInputError(f"expected a list of images, a name a line, but there is no file {path}")
    return list(dict.fromkeys(filter(None, map(str.strip, path.read_text(encoding="utf-8-sig").splitlines()))))


def _name_faults(names: Sequence[str]) -> list[str]:
    empty = [f"row {n + 2}: no image" for n, name in enumerate(names) if not name]
    twice = [f"{name} is listed {count} times" for name, count in Counter(names).items() if name and count > 1]
    return [*empty, *twice][: 10 * SHOWN]


@dataclass(frozen=True)
class LabelColumns:
    """Where a table has its labels."""

    columns: tuple[str, ...] = ()
    """One column of class names, or a column of 0 and 1 for each class."""
    joined: str | None = None
    """Instead of these, a column of class names joined by ``separator``."""
    separator: str = "|"
    nothing: str = "No Finding"
    """The text of such a cell if no class applies; an empty cell means the same."""
    classes: tuple[str, ...] = ()
    """All classes there may be, in the order of their numbers."""
    mapping: Path | None = None
    """A table that merges classes."""

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

    Raises `InvalidOptionError` if both ways to name columns were used, or neither.
    Raises `MissingInputError` if a column is not there.
    Raises `InvalidTableError` if a label is outside of the classes, or a cell is not a label; the message lists them.
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

    Raises `MissingInputError` if one is not.
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
