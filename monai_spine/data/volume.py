"""A NIfTI volume: voxels and the affine to RAS millimetres."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import HeaderDataError

from monai_spine.errors import InvalidVolumeError, MissingInputError
from monai_spine.geometry import Array

_SMALLEST_VOXEL = 1e-6
"""Cubic millimetres below which an affine counts as singular."""


@dataclass(frozen=True)
class Volume:
    """Voxels ``(i, j, k)`` as float32, and the affine from voxels to RAS mm."""

    voxels: npt.NDArray[np.float32]
    affine: Array


def read_volume(path: str | Path) -> Volume:
    """Read a 3-D NIfTI file.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InvalidVolumeError
        If it is not NIfTI, is cut short, is not 3-D, holds numbers that are not finite, or has a singular affine.
    """
    image = open_volume(path)
    try:
        voxels = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, zlib.error) as err:
        raise InvalidVolumeError(
            f"{path}: the voxels cannot be read, the file is damaged or cut short ({err})"
        ) from err
    if not np.isfinite(voxels).all():
        raise InvalidVolumeError(f"{path}: expected finite voxel values, but some are infinite or not a number")
    return Volume(voxels, np.asarray(image.affine, dtype=np.float64))


def open_volume(path: str | Path) -> Nifti1Image:
    """Open a 3-D NIfTI file and check its header; voxels stay on disk.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        As `read_volume`, as far as the header tells.
    """
    if not Path(path).is_file():
        raise MissingInputError(f"expected a NIfTI volume, but there is no file {path}")
    try:
        image = nib.load(path)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as err:
        raise InvalidVolumeError(f"{path}: expected a NIfTI volume, but it cannot be read as one ({err})") from err
    if not isinstance(image, Nifti1Image):
        raise InvalidVolumeError(f"{path}: expected NIfTI, but found {type(image).__name__}")
    if len(image.shape) != 3:
        raise InvalidVolumeError(f"{path}: expected a 3-D volume, but found the shape {image.shape}")
    determinant = abs(np.linalg.det(np.asarray(image.affine)[:3, :3]))
    if not determinant > _SMALLEST_VOXEL:
        raise InvalidVolumeError(
            f"{path}: expected an affine with a volume per voxel, but its determinant is {determinant}"
        )
    return image
