"""Small cohorts of NIfTI studies for tests: noise, with a datalist that meets the contract."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_spine.data.datalist import SCHEMA
from monai_spine.spine import FINDINGS, TARGETS, Finding, Level, SeriesType, Side

AXES = {
    SeriesType.SAGITTAL_T1: ([0, -6.0, 0], [0, 0, -6.0], [-4.0, 0, 0]),
    SeriesType.SAGITTAL_T2: ([0, -6.0, 0], [0, 0, -6.0], [-4.0, 0, 0]),
    SeriesType.AXIAL_T2: ([-5.0, 0, 0], [0, -5.0, 0], [0, 0, -8.0]),
}
"""RAS mm along column, row and slice of each series type, as scanners store them."""

SHAPE = (20, 24, 9)


def affine_of(kind: SeriesType, middle: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.array(AXES[kind], dtype=float).T
    affine[:3, 3] = np.array(middle) - affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    return affine


def write_volume(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def write_study(folder: Path, rng: np.random.Generator) -> dict[str, list[str]]:
    for kind in SeriesType:
        voxels = rng.gamma(2.0, 100.0, SHAPE).astype(np.int16)
        write_volume(folder / f"{kind.value}.nii.gz", voxels, affine_of(kind, tuple(rng.normal(0, 20, 3))))
    return {kind.value: [f"{folder.name}/{kind.value}.nii.gz"] for kind in SeriesType}


def write_cohort(folder: Path, studies: int = 6, folds: int = 2, seed: int = 0) -> Path:
    """Write the studies and a ``datalist.json`` whose labels are random, and return its path."""
    rng = np.random.default_rng(seed)
    entries = []
    for n in range(studies):
        study_id = str(4_000_000_000 + n)
        series = write_study(folder / study_id, rng)
        label = [int(grade) for grade in rng.choice([0, 1, 2, -1], size=len(TARGETS), p=[0.6, 0.2, 0.15, 0.05])]
        entries.append({"study_id": study_id, "patient_id": study_id, "fold": n % folds, **series, "label": label})
    return write_datalist(folder / "datalist.json", entries)


def place_points(datalist: Path) -> Path:
    """Give each study of a datalist the points of a straight spine; the path again."""
    content = json.loads(datalist.read_text())
    for entry in content["training"]:
        entry["points"] = {finding.name: place(finding) for finding in FINDINGS}
    datalist.write_text(json.dumps(content))
    return datalist


def place(finding: Finding) -> list[float]:
    across = {None: 0.0, Side.LEFT: -14.0, Side.RIGHT: 14.0}[finding.condition.side]
    return [across, 0.0, 24.0 - 12.0 * list(Level).index(finding.level)]


def write_datalist(path: Path, entries: list[dict], **changes: object) -> Path:
    content = {"schema": SCHEMA, "targets": list(TARGETS), "training": entries, "test": [], **changes}
    path.write_text(json.dumps(content))
    return path
