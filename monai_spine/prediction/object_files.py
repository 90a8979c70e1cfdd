"""The files of DICOM objects in a study's folder: the program removes and replaces its own alone.

A folder ``<study>/dicom`` may hold a user's images, where somebody chose the folder of the images as the output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from monai_spine.errors import InvalidOptionError

OBJECTS = "dicom"
"""The folder of the objects in a study's folder."""
MANUFACTURER = "monai_spine"
"""Of every object."""
_NAME = re.compile(r"(sr|sr_reader_\d+|keyimages_\d+|report|refusal(_image)?(_\d+)?)\.dcm")
_MANUFACTURER_TAG = 0x00080070


def remove_objects(folder: Path) -> None:
    """Remove the program's DICOM objects from a study's folder, by their names and their manufacturer."""
    for file in (folder / OBJECTS).glob("*.dcm"):
        if _NAME.fullmatch(file.name) and _is_own(file):
            file.unlink()


def check_no_inputs_among_objects(inputs: Iterable[Path], out: Path) -> None:
    """Make sure that no input lies where a study of the output gets its DICOM objects.

    Raises
    ------
    InvalidOptionError
        If one does: an object could take the place of an image.
    """
    target = out.resolve()
    for path in inputs:
        source = path.resolve()
        if not source.is_relative_to(target):
            continue
        parts = source.relative_to(target).parts
        files: Iterable[Path] = (source / OBJECTS).rglob("*") if len(parts) == 1 else ()
        # Objects of an earlier run are no inputs.
        if parts[1:2] == (OBJECTS,) or any(file.is_file() and not _NAME.fullmatch(file.name) for file in files):
            raise InvalidOptionError(
                f"the input {path} has images in a folder {OBJECTS} below the output {out}, where results of a study "
                "may go; choose another output folder"
            )


def _is_own(file: Path) -> bool:
    """Whether an object has the program's manufacturer. The rest of it is not read."""
    try:
        with file.open("rb") as opened:
            header = read_partial(opened, stop_when=_is_behind)
        return str(header.get("Manufacturer", "")) == MANUFACTURER
    except (OSError, InvalidDicomError, ValueError, EOFError, KeyError, NotImplementedError):
        return False


def _is_behind(tag: BaseTag, _representation: str | None, _length: int) -> bool:
    return tag > _MANUFACTURER_TAG
