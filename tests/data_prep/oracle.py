"""Checks a conversion: every row of ``files.csv`` against the DICOM headers and pixels that pydicom reads."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset

CORNER_MM = 0.05
VALUE = 1e-3


def rows(table: Path) -> list[dict[str, str]]:
    """A CSV file's rows."""
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def files(out: Path) -> list[dict[str, str]]:
    """Rows of ``files.csv``."""
    return rows(out / "files.csv")


def manifest(out: Path) -> list[dict[str, str]]:
    """Rows of ``manifest.csv``."""
    return rows(out / "manifest.csv")


def verdicts(out: Path) -> list[str]:
    """``converted`` or the reason code of each stack."""
    return [row["reason"] or row["status"] for row in manifest(out)]


def check(source: Path, out: Path, qform_mm: float = CORNER_MM) -> Counter[str]:
    """Check four corners (by sform and qform) and values of every used slice, and that each slice has one source.

    Returns
    -------
    Numbers of rows by status.
    """
    places: set[tuple[str, str, str]] = set()
    images: dict[str, nib.Nifti1Image] = {}
    datasets: dict[str, Dataset] = {}
    for row in files(out):
        if row["status"] != "used":
            assert not row["nifti"], row
            continue
        place = (row["nifti"], row["k"], row["t"])
        assert place not in places, f"two files for {place}"
        places.add(place)
        if row["nifti"] not in images:
            images[row["nifti"]] = nib.load(out / row["nifti"])
        if row["path"] not in datasets:
            datasets[row["path"]] = pydicom.dcmread(source / row["path"])
        _check_slice(images[row["nifti"]], datasets[row["path"]], row, qform_mm)
    slices = sum(int(np.prod(image.shape[2:])) for image in images.values())
    assert slices == len(places), "a slice of a volume has no source"
    assert set(images) == {row["nifti"] for row in manifest(out) if row["status"] == "converted"}
    return Counter(row["status"] for row in files(out))


def _check_slice(image: nib.Nifti1Image, dataset: Dataset, row: dict[str, str], qform_mm: float) -> None:
    orientation, position, spacing, slope, intercept, stored = _slice(dataset, row["frame"])
    k = int(row["k"])
    last_row, last_column = stored.shape[0] - 1, stored.shape[1] - 1
    for x, y in ((0, 0), (last_column, 0), (0, last_row), (last_column, last_row)):
        corner = position + orientation[:3] * spacing[1] * x + orientation[3:] * spacing[0] * y
        for affine, allowed in ((image.get_sform(), CORNER_MM), (image.get_qform(), qform_mm)):
            error = np.linalg.norm((affine @ [x, y, k, 1])[:3] - corner * [-1, -1, 1])
            assert error <= allowed, f"corner off by {error} mm: {row}"
    values = np.asarray(image.dataobj[..., k] if row["t"] == "" else image.dataobj[..., k, int(row["t"])])
    expected = stored * slope + intercept
    assert np.abs(values.T - expected).max() <= VALUE * max(np.ptp(expected), 1e-9), f"values differ: {row}"


def _slice(dataset: Dataset, frame: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float, np.ndarray]:
    stored = dataset.pixel_array
    if frame == "":
        source, transform = [dataset], dataset
    else:
        own = dataset.PerFrameFunctionalGroupsSequence[int(frame)]
        shared = dataset.get("SharedFunctionalGroupsSequence", [Dataset()])[0]
        public = [(level, tag) for level in (shared, own) for tag in level.keys() if not tag.is_private]  # noqa: SIM118
        source = [level[tag].value[0] for level, tag in public if level[tag].value]
        transform = next((item for item in source if "RescaleSlope" in item), Dataset())
        stored = stored[int(frame)] if stored.ndim == 3 else stored
    geometry = {
        keyword: np.array(next(item[keyword].value for item in source if keyword in item), dtype=np.float64)
        for keyword in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
    }
    slope, intercept = (float(transform.get(key, default)) for key, default in _RESCALE)
    return (*geometry.values(), slope, intercept, stored.astype(np.float64))


_RESCALE = (("RescaleSlope", 1), ("RescaleIntercept", 0))
