"""The folder that a collection is written to: what lies in it already, and files written whole."""

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from data_prep.collection.study import TEST, TRAINING, Entry
from data_prep.dicom import sidecar
from data_prep.dicom.nifti import output_errors
from monai_spine.csv_cells import neutral
from monai_spine.data.datalist import SCHEMA
from monai_spine.errors import InvalidOptionError, OutputError, counted, listed
from monai_spine.files import remove_partial, whole_file
from monai_spine.spine import TARGETS

DATALIST = "datalist.json"
RESULTS = ".studies"
"""Folder of the studies' results while a run lasts."""


def check_output(out: Path, sources: Iterable[Path], folders: Iterable[str]) -> None:
    """Make sure that ``out`` can hold this collection, before anything is written.

    Parameters
    ----------
    sources
        The input's images; the output must not lie inside of them.
    folders
        Folders of the collection's studies, relative to ``out``.

    Raises
    ------
    OutputError
        If it is a file, or lies inside the input.
    InvalidOptionError
        If it holds volumes of other studies: they would look like part of the collection.
    """
    inside = out.resolve()
    if inside.exists() and not inside.is_dir():
        raise OutputError(f"the output {out} is a file; expected a folder, or a new name for one")
    for source in sources:
        if source.is_dir() and inside.is_relative_to(source.resolve()):
            raise OutputError(f"the output folder {out} lies inside the input {source}; choose one outside of it")
    if not inside.is_dir():
        return
    present = {path.parent.relative_to(inside).as_posix() for path in _volumes(inside)}
    others = sorted(present - set(folders))
    if others:
        raise InvalidOptionError(
            f"{out} holds volumes of {counted(len(others), 'study')} outside this collection "
            f"({listed(others)}); "
            "choose a new folder, or remove theirs"
        )


def open_output(out: Path) -> Path:
    """Make the folder ready for a run, and return its empty folder for the studies' results.

    An earlier datalist is removed first: a datalist in the folder means that everything beside it is complete.

    Raises `OutputError` if the folder cannot be created or written to.
    """
    results = out / RESULTS
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / DATALIST).unlink(missing_ok=True)
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
    except OSError as error:
        raise OutputError(f"cannot write to the output folder {out}: {error.strerror}") from error
    remove_partial(out)
    return results


def remove_stale(out: Path, folder: str, kept: Sequence[str]) -> int:
    """Remove volumes of a study that an earlier run made and this one did not; return how many.

    Only volumes with a sidecar of ours are removed: all other files stay.
    """
    stale = [path for path in _volumes(out / folder) if path.relative_to(out).as_posix() not in kept]
    ours = [path for path in stale if _is_ours(_sidecar(path))]
    for path in ours:
        path.unlink()
        _sidecar(path).unlink()
    return len(ours)


def _volumes(folder: Path) -> Iterator[Path]:
    return (path for pattern in ("*.nii", "*.nii.gz") for path in folder.rglob(pattern))


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def _is_ours(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_bytes()).get("Schema") == sidecar.SCHEMA)
    except (OSError, ValueError, AttributeError):
        return False


@contextmanager
def output_file(path: Path) -> Iterator[TextIO]:
    """A text file of the output that is there whole when the block ends, and not at all when it fails.

    Raises `OutputError` if it cannot be written.
    """
    with output_errors(path), whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def output_table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Iterable[Sequence[object]]], None]]:
    """As `output_file`, for a CSV: the block gets a function that adds rows."""
    with output_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        yield lambda rows: writer.writerows([neutral(cell) for cell in row] for row in rows)


class DatalistWriter:
    """Writes ``datalist.json`` an entry at a time, a line each; entries of the training section come first.

    `close` makes it complete JSON, and leaves the file open.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._section, self._separator = TRAINING, "\n "
        file.write(f'{{"schema": {json.dumps(SCHEMA)},\n"targets": {json.dumps(list(TARGETS))},\n"{TRAINING}": [')

    def add(self, section: str, entry: Entry) -> None:
        """Add an entry; no training entry may follow a test entry.

        Raises `ValueError` if it does.
        """
        if section != self._section:
            self._open_test()
        self._file.write(self._separator + json.dumps(entry))
        self._separator = ",\n "

    def close(self) -> None:
        """Write what is left of the format."""
        if self._section == TRAINING:
            self._open_test()
        self._file.write("]}\n")

    def _open_test(self) -> None:
        if self._section == TEST:
            raise ValueError(f"the section {TRAINING!r} is closed")
        self._section, self._separator = TEST, "\n "
        self._file.write(f'],\n"{TEST}": [')
