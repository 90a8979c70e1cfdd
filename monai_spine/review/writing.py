"""Writing into the output folder: one thread at a time, and not while another program writes there."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from monai_spine.csv_cells import plain
from monai_spine.errors import OutputError
from monai_spine.files import raw_csv, write_text
from monai_spine.output_lock import output_lock
from monai_spine.spine import parse_row_id

_PATIENCE_SECONDS = 2.0
"""Another window's server holds the lock for a few milliseconds; a run of predict for hours."""

_THREADS: dict[Path, threading.Lock] = {}
"""By folder, the lock between threads of this process."""

TABLES = ("studies.csv", "findings.csv", "predictions.csv", "points.csv", "volumes.csv")
"""Tables of all studies, each with a column for the study first, or a row_id."""
_EVIDENCE, _DICOM = ("series", "slice"), ("sop_instance_uid", "instance_number", "frame")


class Writing:
    """The right to write into a folder, held only while something is written."""

    def __init__(self, out: Path) -> None:
        self.out = out
        # The lock of a folder keeps out other processes only.
        self._lock = _THREADS.setdefault(out.resolve(), threading.Lock())

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold it.

        Raises
        ------
        OutputError
            If another program holds the folder's lock for longer than two seconds, or the folder cannot be written to.
        """
        with self._lock, ExitStack() as stack:
            self._enter(stack)
            yield

    def _enter(self, stack: ExitStack) -> None:
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                stack.enter_context(output_lock(self.out))
            except OutputError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return


def update_tables(out: Path, new: Path, study: str) -> None:
    """Replace the rows of one study in the tables of all studies by those of the tables in another folder.

    Rows of ``findings.csv`` keep the DICOM objects of slices that its earlier rows name: only they are known, if the
    DICOM files are not at hand.
    """
    for name in TABLES:
        if not (out / name).is_file() or not (new / name).is_file():
            continue
        (head, *rows), (new_head, *new_rows) = _read(out / name), _read(new / name)
        if head != new_head:
            continue  # of another version
        own = _of_predictions(study) if name == "predictions.csv" else _of_study(study)
        if name == "findings.csv":
            new_rows = _with_dicom(head, [row for row in rows if own(row)], new_rows)
        kept = [row for row in rows if not own(row)]
        first = next((n for n, row in enumerate(rows) if own(row)), None)
        if first is None:  # of a study that had none, since it was refused: tables are sorted by their first column
            name_of = plain(new_rows[0][0]) if new_rows else ""
            first = next((n for n, row in enumerate(kept) if row and plain(row[0]) > name_of), len(kept))
        write_text(out / name, raw_csv([head, *kept[:first], *new_rows, *kept[first:]]))


def _of_study(study: str) -> Callable[[Sequence[str]], bool]:
    return lambda row: bool(row) and plain(row[0]) == study


def _of_predictions(study: str) -> Callable[[Sequence[str]], bool]:
    def own(row: Sequence[str]) -> bool:
        try:
            return parse_row_id(plain(row[0]))[0] == study
        except (ValueError, IndexError):
            return False

    return own


def _with_dicom(head: Sequence[str], old: Sequence[Sequence[str]], new: Sequence[Sequence[str]]) -> list[list[str]]:
    place = {column: n for n, column in enumerate(head)}
    evidence, dicom = [place[one] for one in _EVIDENCE], [place[one] for one in _DICOM]
    known = {tuple(row[n] for n in evidence): [row[n] for n in dicom] for row in old}
    filled = []
    for row in new:
        cells = list(row)
        objects = known.get(tuple(row[n] for n in evidence))
        if objects and not any(row[n] for n in dicom):
            for n, value in zip(dicom, objects, strict=True):
                cells[n] = value
        filled.append(cells)
    return filled


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as table:
        return list(csv.reader(table))
