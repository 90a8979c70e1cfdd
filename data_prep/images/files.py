"""Image files below a folder: by their names, DICOM without an extension by its first bytes; and patterns of names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.images.data.pixels import EXTENSIONS

DICOM_EXTENSIONS = (".dcm", ".dicom", ".ima")
FIELDS = ("sample", "channel", "patient")
_TOKEN = re.compile(r"\{(\w+)\}|(\*)|([^{}*]+)|([{}])")


@dataclass(frozen=True)
class ImageFiles:
    """Images of a folder, sorted by path, and how many other files there are."""

    images: list[Path] = field(default_factory=list)
    others: int = 0


def find_images(folder: Path, apart: Path | None = None) -> ImageFiles:
    """All images below a folder; hidden files and folders, and the folder ``apart``, are skipped."""
    images, others = [], 0
    for path in sorted(_walk(folder, apart)):
        if is_image(path):
            images.append(path)
        else:
            others += 1
    return ImageFiles(images, others)


def visible_folders(folder: Path, apart: Path | None = None) -> list[Path]:
    """Sub-folders that are not hidden, sorted by name.

    Raises
    ------
    MissingInputError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise MissingInputError(f"expected a folder of images, but there is no folder {folder}")
    folders = [path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name)]
    return sorted(path for path in folders if apart is None or path.resolve() != apart.resolve())


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image; whether it can be read is not checked."""
    name = path.name.lower()
    return name.endswith(EXTENSIONS) or is_dicom(path)


def is_dicom(path: Path) -> bool:
    """Whether a file has an extension of DICOM, or no extension and the first bytes of DICOM."""
    if path.name.lower().endswith(DICOM_EXTENSIONS):
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # a UID as a name ends in digits
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _walk(folder: Path, apart: Path | None) -> Iterator[Path]:
    kept_apart = None if apart is None else os.path.realpath(apart)
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if not _hidden(name) and os.path.realpath(os.path.join(where, name)) != kept_apart  # noqa: PTH118
        ]
        yield from (Path(where, name) for name in names if not _hidden(name))


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


class NamePattern:
    """A pattern of file names such as ``{sample}_{channel}.png``; ``{field}`` stands for a field, ``*`` for anything.

    Parameters
    ----------
    pattern
        With ``/`` in it, it must fit the end of a path; else the file's name.
    required
        Fields that must be in it.
    channels
        What ``{channel}`` may be; other fields take as little as they can, the ``{sample}`` as much.

    Raises
    ------
    InvalidOptionError
        If it has unknown fields, one twice, or lacks a required one.
    """

    def __init__(self, pattern: str, required: Sequence[str], channels: Sequence[str] = ()) -> None:
        self.pattern = pattern
        tokens = _TOKEN.findall(pattern)
        fields = [token[0] for token in tokens if token[0]]
        wrong = [name for name in fields if name not in FIELDS] or [token[3] for token in tokens if token[3]]
        lacking = [name for name in required if name not in fields]
        if wrong or lacking or len(set(fields)) < len(fields):
            expected = " and ".join(f"{{{name}}}" for name in required)
            raise InvalidOptionError(
                f"expected a pattern with {expected}, each once, such as '{{sample}}_{{channel}}.png', "
                f"but given {pattern!r}"
            )
        expressions = {
            "channel": "|".join(map(re.escape, sorted(channels, key=len, reverse=True))),
            "sample": r"[^/]+",
            "patient": r"[^/]+?",
        }
        parts = [
            f"(?P<{name}>{expressions[name]})" if name else r"[^/]*" if star else re.escape(text)
            for name, star, text, _ in tokens
        ]
        self._expression = re.compile("(?:.*/)?" + "".join(parts), re.IGNORECASE)

    def match(self, path: Path) -> dict[str, str] | None:
        """The fields of a path; None if it does not fit."""
        match = self._expression.fullmatch(path.as_posix())
        return match.groupdict() if match else None
