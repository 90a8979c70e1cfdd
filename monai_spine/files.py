"""The one atomic writer: files are written whole or not at all, under names that cannot lead out of their folder."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_spine.errors import InvalidOptionError, InvalidTableError, SpineError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

_COLLECTIONS = {".json", ".zip"}
"""Ends of inputs that hold whole studies, so that results beside them mix with no patient's files."""

PARTIAL = ".partial"
"""The end of a file's name while it is being written. A killed process leaves such files behind."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends, and is deleted when the block fails.

    The parent folder is made.
    """
    # The process in the name keeps two runs from writing into one file; the dot hides it from those who list files.
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any, *, indent: int = 2) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises `InvalidTableError` if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:  # a JSON file may nest more deeply than Python's stack
        raise InvalidTableError(f"{path} is not JSON: {err}") from err


def write_bytes(path: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Write bytes, or one piece after the other, whole or not at all."""
    with whole_file(path) as partial, partial.open("wb") as file:
        for piece in [content] if isinstance(content, bytes) else content:
            file.write(piece)


def write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write a picture, ``(height, width, 3)`` in RGB, whole or not at all."""
    from PIL import Image  # imported here, so that commands that draw nothing start without it

    with whole_file(path) as partial:
        Image.fromarray(picture).save(partial, format="png")


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure of matplotlib as PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, format="png")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV with Unix line ends, as every table of the project has them; the first row names the columns."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def check_separate(inputs: Iterable[Path], out: Path) -> None:
    """Make sure that an output folder is no input, not inside of one, and not the folder of an input file.

    Raises
    ------
    InvalidOptionError
        If it is: the files of a patient stay apart from results.
    """
    target = out.resolve()
    for path in inputs:
        source = path.resolve()
        if source.is_dir() and target.is_relative_to(source):
            place = f"is the input {path}" if target == source else f"lies inside the input {path}"
        elif source.is_file() and source.suffix.lower() not in _COLLECTIONS and target == source.parent:
            place = f"holds the input {path}"
        else:
            continue
        raise InvalidOptionError(f"the output folder {out} {place}; choose another one")


@contextmanager
def removed_if_refused(out: Path) -> Iterator[None]:
    """Remove an output folder that the block made before it refused its inputs; an earlier one stays as it is.

    Folders above it that did not exist either go with it.
    """
    made = next((folder for folder in (*reversed(out.absolute().parents), out.absolute()) if not folder.exists()), None)
    try:
        yield
    except SpineError:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        raise


def safe_name(identifier: str) -> str:
    """An identifier as the name of a file or folder that cannot lead out of its parent folder."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in identifier)
    # A name of dots alone, such as "..", would lead out of the folder.
    return kept if kept.strip(".") else "_" * max(1, len(kept))
