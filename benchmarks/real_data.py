"""Real volumes with marked levels, for `real_spines.py` and `domain_gap.py`.

A folder holds ``truth.csv`` and, for each patient, ``<study>/sagittal_t2.nii.gz`` (also ``sagittal_t1``, ``axial_t2``).
``truth.csv`` has the columns ``study,level`` (``L5/S1``), ``canal_x,canal_y,canal_z`` in RAS mm, and may have
``canal_ap_mm`` and ``canal_area_mm2``: the canal's least front-to-back diameter and its area at the disc.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from monai_spine.data.datalist import Record, read_datalist
from monai_spine.data.studies import find_study, nifti_files
from monai_spine.spine import FINDINGS, Group, Level

TITLES = {level.title: level for level in Level}


@dataclass
class Patient:
    """A patient's volumes, and what is marked in them."""

    study: str
    record: Record
    canal: dict[str, np.ndarray] = field(default_factory=dict)
    """RAS mm by the name of the level, also of levels that are not graded, such as T12/L1."""
    diameter: dict[Level, float] = field(default_factory=dict)
    area: dict[Level, float] = field(default_factory=dict)

    @property
    def graded(self) -> dict[Level, np.ndarray]:
        """The canal of the graded levels."""
        return {level: self.canal[title] for title, level in TITLES.items() if title in self.canal}

    @property
    def points(self) -> dict[str, tuple[float, ...]]:
        """The canal by the names of findings, as a record has it."""
        return {
            finding.name: tuple(self.graded[finding.level])
            for finding in FINDINGS
            if finding.condition.group is Group.SPINAL and finding.level in self.graded
        }


def read_patients(folder: Path) -> list[Patient]:
    """The patients of a folder, or the studies of a datalist, sorted."""
    if folder.is_file():
        return [_of_record(record) for record in read_datalist(folder)]
    patients: dict[str, Patient] = {}
    for row in _rows(folder / "truth.csv"):
        name = row["study"]
        if name not in patients:
            patients[name] = Patient(name, find_study(name, nifti_files(folder / name)).record)
        one = patients[name]
        one.canal[row["level"]] = np.array([float(row[f"canal_{axis}"]) for axis in "xyz"])
        if row["level"] in TITLES:
            level = TITLES[row["level"]]
            one.diameter[level] = float(row.get("canal_ap_mm") or "nan")
            one.area[level] = float(row.get("canal_area_mm2") or "nan")
    return [patients[name] for name in sorted(patients)]


def _of_record(record: Record) -> Patient:
    canal = {
        finding.level.title: np.array(record["points"][finding.name])
        for finding in FINDINGS
        if finding.condition.group is Group.SPINAL and finding.name in record["points"]
    }
    return Patient(record["study_id"], record, canal)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as table:
        yield from csv.DictReader(table)
