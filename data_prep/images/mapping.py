"""A table that merges classes: which folder or label becomes which class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from data_prep.collection.csv_tables import raise_faults, read_csv
from monai_spine.errors import InvalidTableError, listed

SHOWN = 20


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
    raise_faults(path, [f"{name!r} stands there twice" for name in repeated])
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
