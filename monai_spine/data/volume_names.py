"""Names of a study's volumes in outputs: paths relative to the folder that holds all of them.

``T1/image.nii.gz`` and ``T2/image.nii.gz`` of one study are two volumes, so a file's own name is not enough. Folders
above the study are left out, because outputs must not hold folders of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from socket import gethostname
from typing import Any

from monai_spine.spine import SeriesType

STUDY_FOLDER = "folder"
"""Key of a record: the folder that holds all of its volumes, also those that were left out later."""
WITHOUT_SPINE = "without_spine"
"""Key of a record: the names of the volumes in which no lumbar spine was found, or one that is upside down. Also the
flag of a finding that is seen in one of them."""


def common_folder(files: Iterable[str | Path]) -> str:
    """The deepest folder that holds all files; empty if there are none, or they lie on several drives."""
    folders = {os.path.dirname(os.path.abspath(file)) for file in files}  # noqa: PTH100, PTH120 - links stay as they are
    try:
        return os.path.commonpath(folders) if folders else ""
    except ValueError:
        return ""


def volume_name(file: str | Path, folder: str | Path) -> str:
    """A file's path relative to the study's folder, with ``/`` on every system; its own name if it lies elsewhere."""
    path = Path(os.path.abspath(file))  # noqa: PTH100 - links stay as they are
    return path.relative_to(folder).as_posix() if folder and path.is_relative_to(folder) else path.name


def volume_names(record: Mapping[Any, Any]) -> dict[str, str]:
    """The names of a record's volumes, by their paths as the record has them."""
    files = [str(file) for series_type in SeriesType for file in record.get(series_type.value, ())]
    folder = record.get(STUDY_FOLDER) or common_folder(files)
    return {file: volume_name(file, folder) for file in files}


def absent_volumes(files: Mapping[str, str]) -> dict[str, str]:
    """Of the volumes, by their paths as `volume_names` gives them, those that are not there: by name, why."""
    reason = f"no such file on {gethostname()}; results of an earlier run, if there are any, stay"
    return {name: reason for file, name in files.items() if not os.path.isfile(file)}  # noqa: PTH113 - as above


def with_names(text: str, names: Mapping[str, str]) -> str:
    """A message with names of volumes in place of their paths."""
    # Longest first: one path may be the beginning of another.
    for file in sorted(names, key=len, reverse=True):
        text = text.replace(file, names[file])
    return text
