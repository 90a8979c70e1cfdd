"""CSV tables of users: read as strings, checked by pandera; one error lists the faults of all tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from monai_spine.csv_cells import read_text_table
from monai_spine.errors import InvalidTableError, MissingInputError, counted, listed
from monai_spine.files import is_table_name

if TYPE_CHECKING:
    import pandera.pandas as pa

NAME = r"[\w+=@-](?:[\w.+=@-]{0,62}[\w+=@-])?"
"""What a study or series may be called: its folder's name."""
_TAKEN = {"test"}
"""Where the volumes of test studies go."""
SHOWN = 20
"""Faults that a message lists; the rest is counted."""


def read_csv(path: Path, expected: str) -> pd.DataFrame:
    """A CSV with every cell a string without blanks around it, empty ones ``""``.

    Raises `MissingInputError` if there is no such file; ``expected`` ends the message.
    Raises `InvalidTableError` if it cannot be read as a CSV.
    """
    if not path.is_file():
        raise MissingInputError(f"there is no file {path}; expected {expected}")
    table = read_text_table(path)
    return table.apply(lambda column: column.str.strip())


def faults(table: pd.DataFrame, schema: pa.DataFrameSchema, name: str) -> list[str]:
    """One sentence per cell that breaks the schema, with the row as a spreadsheet counts it (the header is row 1)."""
    import pandera.errors

    try:
        schema.validate(table, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases.sort_values("index", kind="stable").to_dict("records")
        return [
            f"{name} row {int(case['index']) + 2}: {case['column']} is {case['failure_case']!r}, "
            f"expected {case['check']}"
            for case in cases
        ]
    return []


def raise_faults(where: Path, messages: Sequence[str]) -> None:
    """Raise one error that lists all faults.

    Raises `InvalidTableError` if there are any.
    """
    if messages:
        raise InvalidTableError(f"{where}: {counted(len(messages), 'fault')}: {listed(messages, '; ', SHOWN)}")


def name_check() -> pa.Check:
    """A cell that can name a folder."""
    import pandera.pandas as pa

    def names_folder(text: str) -> bool:
        return bool(re.fullmatch(NAME, text)) and text.lower() not in _TAKEN and not is_table_name(text)

    expected = "an id that can name a folder, and is no name of an output, such as manifest.csv"
    return pa.Check(names_folder, element_wise=True, error=expected)


def unique_check() -> pa.Check:
    """A cell that no other row repeats."""
    import pandera.pandas as pa

    return pa.Check(lambda ids: ~ids.duplicated(), error="an id that no other row has")


def one_of(values: Sequence[str]) -> pa.Column:
    """A column of these words alone."""
    import pandera.pandas as pa

    return pa.Column(str, pa.Check.isin(values, error=f"one of {list(values)}"))


def number_column() -> pa.Column:
    """A column of finite numbers."""
    import pandera.pandas as pa

    return pa.Column(str, pa.Check(is_finite, element_wise=True, error="a number"))


def is_finite(text: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False
