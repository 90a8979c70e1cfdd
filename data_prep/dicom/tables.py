"""The tables of a conversion: ``manifest.csv`` has a row per stack, ``files.csv`` a row per input file or frame.

``refused.csv`` says why for each refused file or frame, as ``manifest.csv`` cannot for files that are in no stack. It
is there only if something was refused.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from data_prep.dicom.frames import FileHeader, Frame
from data_prep.dicom.nifti import output_errors
from data_prep.dicom.refusals import Reason
from monai_spine.files import csv_text, write_text

STATUSES = ("used", "duplicate", "refused", "ignored")
"""What can become of a file. The counts of these add up to all files of the input."""


@dataclass(frozen=True, slots=True, order=True)
class ManifestRow:
    """A stack: ``status`` is ``converted`` or ``refused``; ``nifti`` is relative to the output folder."""

    study: str
    series_uid: str
    stack: int
    description: str
    plane: str
    files: int
    slices: int
    status: str
    reason: str
    detail: str
    nifti: str


@dataclass(frozen=True, slots=True)
class FileRow:
    """An input file, or one frame of it: ``status`` is ``used``, ``duplicate``, ``refused`` or ``ignored``.

    ``frame`` is 0-based and empty for single-frame files. ``k`` is the index along the volume's third axis as stored,
    ``t`` that of the volume in a 4-D file.
    """

    path: str
    frame: int | None
    status: str
    reason: str
    nifti: str
    k: int | None
    t: int | None


@dataclass(frozen=True, slots=True)
class RefusedFileRow(FileRow):
    """An input file, or one frame of it, that was refused; ``detail`` says why, for ``refused.csv`` alone."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A refused file or frame, with the numbers that were found."""

    path: str
    frame: int | None
    reason: str
    detail: str


REFUSED = "refused.csv"
"""The table that is there only if something was refused."""
TABLES: dict[str, tuple[type[ManifestRow | FileRow | RefusedRow], tuple[str, ...]]] = {
    "manifest.csv": (ManifestRow, tuple(field.name for field in fields(ManifestRow))),
    "files.csv": (FileRow, tuple(field.name for field in fields(FileRow))),
    REFUSED: (RefusedRow, tuple(field.name for field in fields(RefusedRow))),
}
"""The rows and columns of each table."""


def refused_rows(files: Iterable[FileRow]) -> list[RefusedRow]:
    """The rows of ``refused.csv``."""
    refused = (row for row in files if isinstance(row, RefusedFileRow))
    return [RefusedRow(row.path, row.frame, row.reason, row.detail) for row in refused]


def unused_row(frame: Frame, status: str, reason: Reason | None = None) -> FileRow:
    """The row of a frame that is in no volume, and that was not refused."""
    return FileRow(frame.path, frame.index, status, "" if reason is None else reason.value, "", None, None)


def refused_row(path: str, frame: int | None, reason: Reason, detail: str) -> RefusedFileRow:
    """The row of a refused file or frame."""
    return RefusedFileRow(path, frame, "refused", reason.value, "", None, None, detail)


def frameless_row(header: FileHeader) -> FileRow:
    """The row of a file without an image: ``ignored`` if it is not meant to hold one, else ``refused``."""
    reason = header.reason or Reason.UNREADABLE
    if reason is Reason.NOT_AN_IMAGE:
        return FileRow(header.path, None, "ignored", reason.value, "", None, None)
    return refused_row(header.path, None, reason, header.detail)


def cells(name: str, row: ManifestRow | FileRow | RefusedRow) -> list[str]:
    """The cells of a row of a table, as text."""
    return ["" if value is None else str(value) for value in operator.attrgetter(*TABLES[name][1])(row)]


def as_texts(name: str, rows: Iterable[ManifestRow | FileRow]) -> list[dict[str, str]]:
    """The rows of a table as a reader of it gets them: texts by their columns."""
    return [dict(zip(TABLES[name][1], cells(name, row), strict=True)) for row in rows]


def write(path: Path, rows: Iterable[ManifestRow | FileRow | RefusedRow]) -> None:
    """Write one of `TABLES`, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    columns = TABLES[path.name][1]
    values = operator.attrgetter(*columns)  # dataclasses.astuple copies deeply, and takes ten times as long
    cells = (["" if value is None else value for value in values(row)] for row in rows)
    with output_errors(path):
        write_text(path, csv_text([columns, *cells]))


def sorted_files(rows: Sequence[FileRow]) -> list[FileRow]:
    """Rows in the order of the table: by path, then frame."""
    return sorted(rows, key=lambda row: (row.path, -1 if row.frame is None else row.frame))
