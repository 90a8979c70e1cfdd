"""Whether a converter's output is right: every DICOM frame is searched in the NIfTI files, by its corners and values.

A series is *right* if every frame lies in exactly one slice of the output, with corners within 0.05 mm and values
within a thousandth of the range, and there is no other slice. It is *refused* if there is no output, and *wrong*
otherwise. A mosaic has no frames of its own, so its output is compared with the reference volume of the series.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset

CORNER_MM = 0.05
VALUE = 1e-3


class Slice(NamedTuple):
    """A DICOM frame: RAS positions of three corners, rescaled values."""

    corners: np.ndarray
    values: np.ndarray


def verdict(folder: Path, out: Path) -> str:
    """``right``, ``refused`` or ``wrong`` for the conversion of one series folder."""
    images = [nib.load(path) for path in sorted(out.rglob("*.nii"))]
    if not images:
        return "refused"
    datasets = [pydicom.dcmread(path) for path in sorted((folder / "dicom").iterdir())]
    if any("MOSAIC" in dataset.ImageType for dataset in datasets):
        return "right" if _equals_reference(images, folder / "ref") else "wrong"
    frames = [frame for dataset in datasets for frame in _frames(dataset)]
    return "right" if _all_placed(frames, images) else "wrong"


def _equals_reference(images: list[nib.Nifti1Image], reference: Path) -> bool:
    expected = [nib.load(path) for path in sorted(reference.glob("*.nii*"))]
    return len(images) == len(expected) and all(any(_same(image, other) for other in expected) for image in images)


def _same(image: nib.Nifti1Image, other: nib.Nifti1Image) -> bool:
    close = image.shape == other.shape and np.allclose(image.affine, other.affine, atol=0.01)
    return bool(close and np.allclose(image.get_fdata(), other.get_fdata(), atol=1))


def _frames(dataset: Dataset) -> Iterator[Slice]:
    stored = dataset.pixel_array.astype(np.float64)
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        yield _slice(dataset, dataset, stored)
        return
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for own, values in zip(dataset.PerFrameFunctionalGroupsSequence, stored, strict=True):
        flat = Dataset()
        for level in (shared, own):
            for element in level:
                if element.VR == "SQ" and element.value and not element.tag.is_private:
                    flat.update({item.tag: item for item in element.value[0] if not item.tag.is_private})
        yield _slice(flat, flat, values)


def _slice(geometry: Dataset, rescale: Dataset, stored: np.ndarray) -> Slice:
    orientation = np.array(geometry.ImageOrientationPatient, dtype=np.float64)
    position = np.array(geometry.ImagePositionPatient, dtype=np.float64)
    between_rows, between_columns = (float(value) for value in geometry.PixelSpacing)
    rows, columns = stored.shape
    corners = np.array(
        [
            position,
            position + orientation[:3] * between_columns * (columns - 1),
            position + orientation[3:] * between_rows * (rows - 1),
        ]
    )
    values = stored * float(rescale.get("RescaleSlope", 1) or 1) + float(rescale.get("RescaleIntercept", 0) or 0)
    return Slice(corners * [-1, -1, 1], values)


def _all_placed(frames: list[Slice], images: list[nib.Nifti1Image]) -> bool:
    volumes = [_turned(image, frames) for image in images]
    free = {(n, k, t) for n, (_, data) in enumerate(volumes) for k, t in np.ndindex(*data.shape[2:])}
    for frame in frames:
        places = ((n, *place) for n, volume in enumerate(volumes) for place in _places(frame, *volume))
        found = next((place for place in places if place in free), None)
        if found is None:
            return False
        free.discard(found)
    return not free


def _turned(image: nib.Nifti1Image, frames: list[Slice]) -> tuple[np.ndarray, np.ndarray]:
    """Affine and data of shape ``(columns, rows, slices, volumes)``.

    Some tools store slices along another axis, so the order of the axes is used in which most frames are found.
    """
    data = np.asarray(image.dataobj, dtype=np.float64)
    data = data.reshape(*(*data.shape, 1, 1)[:3], -1)
    turned = [(image.affine[:, [*order, 3]], data.transpose(*order, 3)) for order in permutations(range(3))]
    return max(turned, key=lambda volume: sum(any(True for _ in _places(frame, *volume)) for frame in frames))


def _places(frame: Slice, affine: np.ndarray, data: np.ndarray) -> Iterator[tuple[int, int]]:
    """The slice and volume indices at which the frame lies and has its values."""
    voxels = np.linalg.solve(affine[:3, :3], (frame.corners - affine[:3, 3]).T).T
    nearest = np.round(voxels)
    if np.linalg.norm((voxels - nearest) @ affine[:3, :3].T, axis=1).max() > CORNER_MM:
        return
    if nearest.min() < 0 or (nearest >= data.shape[:3]).any():
        return
    k = int(nearest[0, 2])
    for t in range(data.shape[3]):
        if _equal(_oriented(data[:, :, k, t], nearest), frame.values):
            yield k, t


def _oriented(plane: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """A stored plane as rows and columns of the DICOM frame, undoing flips."""
    turned = plane[:: -1 if corners[1, 0] < corners[0, 0] else 1, :: -1 if corners[2, 1] < corners[0, 1] else 1]
    return turned.T


def _equal(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape:
        return False
    return bool(np.abs(found - expected).max() <= VALUE * max(float(np.ptp(expected)), 1e-9))
