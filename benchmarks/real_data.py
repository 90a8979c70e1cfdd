"""Real volumes with marked levels, for `real_spines.py` and `domain_gap.py`.

A folder holds ``truth.csv`` and, for each patient, ``<study>/sagittal_t2.nii.gz`` (also ``sagittal_t1``, ``axial_t2``).
``truth.csv`` has the columns ``study,level`` (``L5/S1``), ``canal_x,canal_y,canal_z`` in RAS mm, and may have
``canal_ap_mm`` and ``canal_area_mm2``: the canal's least front-to-back diameter and its area at the disc. With a
``<study>/mask.nii.gz`` (3 canal), the diameter at a disc is also known as a share of that between the discs.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from monai_spine.data.datalist import Record, read_datalist
from monai_spine.data.studies import find_study, nifti_files
from monai_spine.data.volume import Volume, read_volume
from monai_spine.geometry import spacing, to_voxel
from monai_spine.levels.sagittal.grid import canonical
from monai_spine.spine import FINDINGS, Group, Level

_CANAL = 3
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
    share: dict[Level, float] = field(default_factory=dict)
    """The canal's diameter at the disc, as a share of its diameter beside the disc."""

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
    for name, one in patients.items():
        mask = folder / name / "mask.nii.gz"
        one.share = narrowed(read_volume(mask), one.graded) if mask.is_file() else {}
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


_DISC_MM = 4.0
"""Distance from the disc within which the canal is narrowest."""
_BESIDE_MM = (8.0, 22.0)
"""Distances from the disc, upwards and downwards, at which the canal lies behind a vertebra."""
_MIDDLE_MM = 3.0
"""Distance from the canal's middle within which the depth of the slices is averaged."""


def narrowed(mask: Volume, graded: Mapping[Level, np.ndarray]) -> dict[Level, float]:
    """The least diameter of the canal's mask at each disc, as a share of its usual diameter behind the vertebrae.

    ``graded``: the canal at the discs, RAS mm. Levels of which the mask shows too little are left out.
    """
    voxels, affine = canonical(mask, "mask")
    wide, deep, high = spacing(affine)
    depths, middles = np.full((2, voxels.shape[2]), np.nan)
    for row in range(voxels.shape[2]):
        across = (np.round(voxels[:, :, row]) == _CANAL).sum(axis=1) * deep
        if across.any():
            middle = np.average(np.arange(len(across)), weights=across) * wide
            depths[row] = across[abs(np.arange(len(across)) * wide - middle) <= _MIDDLE_MM].mean()
            middles[row] = np.average(np.nonzero(np.round(voxels[:, :, row]) == _CANAL)[1]) * deep
    # Rows cut the canal aslant where it leans.
    rows, seen = np.arange(len(middles)), np.isfinite(middles)
    smooth = uniform_filter1d(np.interp(rows, rows[seen], middles[seen]), max(1, round(7 / high)))
    depths *= np.cos(np.arctan(np.gradient(smooth, high)))
    shares = {}
    for level, place in graded.items():
        off = (np.arange(len(depths)) - to_voxel(affine, place)[2]) * high
        at = depths[abs(off) <= _DISC_MM]
        beside = [depths[(side * off >= _BESIDE_MM[0]) & (side * off <= _BESIDE_MM[1])] for side in (-1, 1)]
        usual = [np.nanpercentile(one, 80) for one in beside if np.isfinite(one).sum() * high > 5]
        if usual and np.isfinite(at).any():
            shares[level] = float(np.nanmin(at) / np.mean(usual))
    return shares
