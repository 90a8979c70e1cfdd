"""One slice of an axial stack, read without the others."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_spine.data.volume import Volume, open_volume
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array, Plane, plane_of


class AxialSliced(MapTransform):
    """Read the slice of a NIfTI file that a record names.

    The key's path is replaced by the float32 voxels ``(i, j, 1)`` of slice ``record["slice"]``, and ``affine`` from
    them to RAS mm is added.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        As `read_slice`.
    """

    def __init__(self, *, keys: KeysCollection = "image", slice_key: str = "slice", affine_key: str = "affine") -> None:
        super().__init__(keys)
        self.slice_key, self.affine_key = slice_key, affine_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the path by the voxels."""
        record = dict(data)
        for key in self.key_iterator(record):
            volume = read_slice(record[key], int(record[self.slice_key]))
            record[key], record[self.affine_key] = volume.voxels, volume.affine
        return record


def read_slice(path: str | Path, k: int) -> Volume:
    """Slice ``k`` of a 3-D NIfTI file as a volume of one slice; the others stay on disk.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InvalidVolumeError
        If it cannot be read, holds numbers that are not finite in this slice, or is not axial by its affine.
    """
    image = open_volume(path)
    affine = np.array(image.affine, dtype=np.float64)
    if plane_of(affine) is not Plane.AXIAL:
        raise InvalidVolumeError(f"{path}: expected axial slices, but by the affine they are {plane_of(affine).value}")
    try:
        voxels = np.asarray(image.dataobj[..., k : k + 1], dtype=np.float32)
    except (OSError, EOFError, ValueError, zlib.error) as err:
        raise InvalidVolumeError(f"{path}: slice {k} cannot be read, the file is damaged or cut short ({err})") from err
    if not np.isfinite(voxels).all():
        raise InvalidVolumeError(f"{path}: expected finite voxel values, but some of slice {k} are not")
    return Volume(voxels, slice_affine(affine, k))


def slice_affine(affine: Array, k: int) -> Array:
    """The affine of slice ``k`` alone, from ``(i, j, 0)`` to RAS mm."""
    moved = np.array(affine, dtype=np.float64)
    moved[:3, 3] += k * moved[:3, 2]
    return moved
