"""Cells of CSV tables: neutral for spreadsheet programs when they are written, plain again when they are read.

A spreadsheet program runs a text that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, and study names come from
folders and headers that others have made. Such texts are written with an apostrophe before them, which spreadsheet
programs take for "this is text" (OWASP, CSV injection). Numbers stay as they are.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from monai_spine.errors import InvalidTableError, listed, one_line

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def neutral(cell: object) -> object:
    """A cell to be written: a text that a spreadsheet program would run gets an apostrophe before it."""
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\0", "\N{REPLACEMENT CHARACTER}")  # Python 3.10 refuses to write it, others to read it
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def plain(cell: str) -> str:
    """A cell that was read, without the apostrophe of `neutral`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def read_text_table(path: Path) -> pd.DataFrame:
    """A CSV file with every cell as a text, `plain`.

    Raises
    ------
    InvalidTableError
        If it is no CSV, or has a column twice: pandas would rename the second one, and nobody would notice.
    """
    import pandas as pd  # imported here, so that commands that read no table start without it

    try:
        # Everything as text: ids must not become numbers. Spreadsheet programs write a byte order mark (utf-8-sig).
        with path.open(newline="", encoding="utf-8-sig") as file:
            columns = next(csv.reader(file), [])
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OverflowError, csv.Error) as err:  # pandas' and Unicode errors are ValueErrors
        raise InvalidTableError(f"{path} is not a readable CSV: {one_line(err)}") from err
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise InvalidTableError(f"{path}: expected each column once, but found {listed(twice)} more than once")
    if not isinstance(table.index, pd.RangeIndex):
        raise InvalidTableError(f"{path}: expected as many cells in each row as in the header, but there are more")
    return table.apply(lambda column: column.map(plain)) if len(table) else table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
