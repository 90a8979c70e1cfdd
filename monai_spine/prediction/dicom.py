"""DICOM inputs of ``predict``, by way of the converter of `data_prep`."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from monai_spine.data.studies import find_study
from monai_spine.prediction.candidate import Candidate

_HARMLESS = frozenset({"LOCALIZER", "TOO_FEW_SLICES"})
"""Stacks that nobody grades: scouts."""


@dataclass(frozen=True)
class Conversion:
    """How to convert; see `data_prep.dicom.convert.convert`."""

    name_by: str = "uid"
    workers: int = 1
    resume: bool = True
    quiet: bool = False

    def __call__(self, source: Path, out: Path) -> Converted:
        """Convert a DICOM file, a folder, a DICOMDIR or a zip into a folder, keeping what an earlier run finished.

        Raises
        ------
        SpineError
            If there is no DICOM image in it, or the folder holds the volumes of another input.
        """
        from data_prep.dicom.convert import convert

        name_by = "folder" if self.name_by == "folder" else "uid"
        convert(source, out, name_by=name_by, workers=self.workers, resume=self.resume, quiet=self.quiet)  # type: ignore[arg-type]
        return read_converted(out)


@dataclass(frozen=True)
class Converted:
    """The studies of a DICOM input, and how many of its files, scouts aside, are in no volume."""

    candidates: tuple[Candidate, ...]
    refused_files: int


def read_converted(out: Path) -> Converted:
    """What the tables ``manifest.csv`` and ``files.csv`` of a conversion say."""
    studies: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in _rows(out / "manifest.csv"):
        studies[row["study"]].append(row)
    refused = [row for row in _rows(out / "files.csv") if row["status"] == "refused" and row["reason"] not in _HARMLESS]
    return Converted(tuple(_candidate(out, study, rows) for study, rows in sorted(studies.items())), len(refused))


def _candidate(out: Path, study: str, rows: list[dict[str, str]]) -> Candidate:
    files = sorted(out / row["nifti"] for row in rows if row["status"] == "converted")
    found = find_study(study, files, leave_out_bad=True)
    left_out, bad = dict(found.left_out), dict[str, str]()
    for row in rows:
        if row["status"] == "refused":
            name = f"{row['series_uid'] or 'series'}, stack {row['stack']}"
            reason = ": ".join(filter(None, (row["reason"], row["detail"])))
            (left_out if row["reason"] in _HARMLESS else bad)[name] = reason
    bad |= {name: left_out.pop(name) for name in found.unreadable}
    return Candidate(found.record, left_out, bad)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))
