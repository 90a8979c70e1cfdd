"""What an earlier run left in the output folder: its tables say so, and nothing else is touched."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from data_prep.dicom.names import is_volume_of
from data_prep.dicom.nifti import sidecar_path
from monai_spine.errors import SpineError


def volumes(out: Path) -> set[str]:
    """The volumes that a manifest in the output folder lists and that are still there, relative to it."""
    try:
        with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
            listed = {row.get("nifti") or "" for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()
    return {name for name in listed if _is_inside(name) and (out / name).is_file()}


def _is_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) == 2 and ".." not in parts and not PurePosixPath(name).is_absolute()


def check(out: Path, earlier: Collection[str], series: Collection[tuple[str, str]]) -> None:
    """Hold an earlier run's volumes against the study and series names of this one's input.

    Raises
    ------
    SpineError
        If one is of a series that this input does not have: its row would be lost.
    """
    strange = sorted(name for name in earlier if not is_volume_of(name, series))
    if strange:
        raise SpineError(
            f"{out} holds the volumes of another input, such as {strange[0]} ({len(strange)} of {len(earlier)} "
            "are not of this one); choose another output folder, or remove this one first"
        )


def remove(out: Path, superseded: Collection[str]) -> None:
    """Remove volumes of an earlier run that this one no longer makes, and their sidecars."""
    for name in superseded:
        (out / name).unlink(missing_ok=True)
        sidecar_path(out / name).unlink(missing_ok=True)
