"""Image files below a folder: by their names, and DICOM without an extension by its first bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from monai_spine.errors import MissingInputError
from monai_spine.images.data.pixels import EXTENSIONS

DICOM_EXTENSIONS = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True)
class Found:
    """Images of a folder, sorted by path, and how many other files there are."""

    images: list[Path] = field(default_factory=list)
    others: int = 0


def find_images(folder: Path, apart: Path | None = None) -> Found:
    """All images below a folder; hidden files and folders, and the folder ``apart``, are passed over."""
    images, others = [], 0
    for path in sorted(_walk(folder, apart)):
        if is_image(path):
            images.append(path)
        else:
            others += 1
    return Found(images, others)


def visible_folders(folder: Path, apart: Path | None = None) -> list[Path]:
    """Sub-folders that are not hidden, sorted by name.

    Raises
    ------
    MissingInputError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise MissingInputError(f"expected a folder of images, but there is no folder {folder}")
    found = [path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name)]
    return sorted(path for path in found if apart is None or path.resolve() != apart.resolve())


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image; whether it can be read is another matter."""
    name = path.name.lower()
    return name.endswith(EXTENSIONS) or is_dicom(path)


def is_dicom(path: Path) -> bool:
    """Whether a file is called as DICOM files are, or has no extension and begins as they do."""
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
