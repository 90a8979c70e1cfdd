"""The two tables of a conversion: `manifest.csv`, a row per stack, and `files.csv`, a row per input file or frame."""

from __future__ import annotations

import csv
import io
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from data_prep.dicom.nifti import write_atomically

STATUSES = ("used", "duplicate", "refused", "ignored")
"""What can become of a file; together they are all files found."""


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
    """An input file, or a frame of one: ``status`` is ``used``, ``duplicate``, ``refused`` or ``ignored``.

    ``frame`` is 0-based and empty for single-frame files; ``k`` is the index along the volume's third axis as stored,
    ``t`` that of the volume in a 4-D file.
    """

    path: str
    frame: int | None
    status: str
    reason: str
    nifti: str
    k: int | None
    t: int | None


def write(path: Path, kind: type[ManifestRow] | type[FileRow], rows: Iterable[ManifestRow] | Iterable[FileRow]) -> None:
    """Write a table, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [field.name for field in fields(kind)]
    writer.writerow(columns)
    values = operator.attrgetter(*columns)  # astuple copies deeply, and takes ten times as long
    writer.writerows(["" if value is None else value for value in values(row)] for row in rows)
    write_atomically(path, [text.getvalue().encode("utf-8")])


def sorted_files(rows: Sequence[FileRow]) -> list[FileRow]:
    """Rows in the order of the table: by path, then frame."""
    return sorted(rows, key=lambda row: (row.path, -1 if row.frame is None else row.frame))
