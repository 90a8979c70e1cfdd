"""The one atomic writer: files are written whole or not at all, under names that cannot lead out of their folder.

`read_json` is the one reader of JSON.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_spine.csv_cells import neutral
from monai_spine.errors import InvalidOptionError, InvalidTableError, SpineError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

_COLLECTIONS = {".json", ".zip"}
"""Ends of inputs that hold whole studies, so that results beside them mix with no patient's files."""

PARTIAL = ".partial"
"""The end of a file's name while it is being written. A killed process leaves such files behind."""


_LONGEST_NAME = 128
"""Bytes of a name made of an identifier. File systems allow 255, with the ends that are added to it."""

_RESERVED = {
    *("volumes", "parts", "tensorboard", "models", "con", "prn", "aux", "nul"),
    *(f"{device}{n}" for device in ("com", "lpt") for n in range(1, 10)),
}
"""Names that a study's folder cannot have, in lower case."""
_TABLES = (".csv", ".json", ".jsonl", ".txt", ".html", ".md", ".png", ".pdf")
"""Ends of names that the outputs of all studies together have, such as ``studies.csv`` and ``log.txt``."""


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
    except OSError as error:
        if error.filename is None:  # as for a full disk, which the message must name
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def remove_partial(out: Path) -> None:
    """Remove files that a killed run, or a killed worker of this run, left half written, below a folder."""
    for path in out.rglob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, whole or not at all.

    Bytes of file names that are not UTF-8 are written as ``\\udce9``, so that they never end a run.
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises
    ------
    InvalidTableError
        If it is not JSON, not in UTF-8, or nests more deeply than Python's stack.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise InvalidTableError(f"{path} is not JSON: {err}") from err


def write_json(path: Path, content: Any, *, indent: int = 2) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def write_bytes(path: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Write bytes, or one piece after the other, whole or not at all."""
    with whole_file(path) as partial, partial.open("wb") as file:
        for piece in [content] if isinstance(content, bytes) else content:
            file.write(piece)


def write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write a picture, ``(height, width, 3)`` in RGB, whole or not at all."""
    from PIL import Image  # imported here, so that commands that draw nothing start without it

    with whole_file(path) as partial:
        # A third of the time of the usual level 6, and a quarter larger.
        Image.fromarray(picture).save(partial, format="png", compress_level=1)


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure of matplotlib as PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, format="png")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV with Unix line ends, as every table of the project has them; the first row names the columns.

    Texts that a spreadsheet program would run are neutral (`monai_spine.csv_cells`).
    """
    return raw_csv([neutral(cell) for cell in row] for row in rows)


def raw_csv(rows: Iterable[Iterable[object]]) -> str:
    """Rows of a table of the project that was read: cells that a spreadsheet would run are neutral already."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


FileState = tuple[int, int, int, int]
"""See `file_state`."""


def file_state(path: str | Path) -> FileState:
    """Size in bytes, times of the last change of the content and of the inode in ns, and inode; zeros if there is none.

    A program can set the first time back, but not the second one. So a file whose state is the same has the same
    content, unless it was changed twice within one tick of the disk's clock (`is_settled`).
    """
    try:
        state = os.stat(path)  # noqa: PTH116 - a path object per file doubles the time
    except OSError:
        return 0, 0, 0, 0
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


SETTLED_NS = 2_000_000_000
"""The coarsest tick of a disk's clock that is in use."""


def is_settled(noted: Path, states: Iterable[FileState]) -> bool:
    """Whether files were last changed so long before their states were noted in a file that no change can be missed."""
    return noted.stat().st_mtime_ns > max((state[2] for state in states), default=0) + SETTLED_NS


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of the joined contents of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def checksum(path: str | Path) -> int | None:
    """CRC-32 of a file's bytes; None if it cannot be read. 30 MB take about 10 ms."""
    from isal import isal_zlib  # imported here, so that --help starts without it

    value = 0
    try:
        with Path(path).open("rb") as file:
            while piece := file.read(1 << 20):
                value = isal_zlib.crc32(piece, value)
    except OSError:
        return None
    return value


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
    """An identifier as the name of a file or folder that cannot lead out of its parent folder, and is not too long."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in identifier)
    # A name of dots alone, such as "..", would lead out of the folder; one with a dot before it would be hidden.
    if kept.startswith("."):
        kept = "_" * (len(kept) - len(kept.lstrip("."))) + kept.lstrip(".")
    digest = hashlib.sha256(identifier.encode(errors="surrogatepass")).hexdigest()[:12]
    # Of two names without a letter nothing would be left that tells them apart.
    if kept != identifier and not any(c.isalnum() for c in kept):
        return f"_-{digest}"
    if len(kept.encode()) > _LONGEST_NAME:
        kept = f"{kept.encode()[: _LONGEST_NAME - 13].decode(errors='ignore')}-{digest}"
    # Outputs and their tables stand beside the folders of studies; Windows keeps some names for devices.
    taken = kept.lower() in _RESERVED or is_table_name(kept)
    return f"{kept or '_'}{'_' if taken else ''}"


def is_table_name(name: str) -> bool:
    """Whether a name ends as those of the tables and pages do that stand beside the folders of studies."""
    return name.lower().endswith(_TABLES)


def text_of(name: str) -> str:
    """The name of a file or folder as text: bytes that are not UTF-8 become ``\\xe9``, and line breaks ``\\n``."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
