"""The one reader of NIfTI volumes: header checks, voxels, and the affine to RAS millimetres.

First step of every flow that starts from NIfTI files. There are three ways to get the voxels, by what they cost:
`read_volume` (all, as float32), `read_slice` (one slice, as float32) and `stored_voxels` (all, in the type of the file,
mapped into memory where that is possible).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, igzip_lib
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import HeaderDataError

from monai_spine.errors import InvalidVolumeError, MissingInputError, NotVolumetricError, SingularAffineError
from monai_spine.geometry import Array

LOCALIZER_WINDOW = (1.0, 99.5)
"""Percentiles of grey values that become 0 and 1 for both localizers, and in the phantoms that they learn from."""

SMALLEST_VOXEL_MM3 = 1e-6
"""Cubic millimetres per voxel below which an affine counts as singular."""

_IsalError = cast("type[Exception]", igzip_lib.IsalError)  # its type stub declares an instance instead of a class
# nibabel passes on whatever the file system, gzip or its own header parser raise; a cut file shows up as any of these.
UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, TypeError, ArithmeticError, zlib.error)
_BAD_VOXELS = (*UNREADABLE, _IsalError)


@dataclass(frozen=True)
class Volume:
    """Voxels ``(i, j, k)`` as float32, and the affine ``(4, 4)`` from voxels to RAS mm."""

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
    except _BAD_VOXELS as err:
        raise _damaged(path, "the voxels", err) from err
    if not np.isfinite(voxels).all():
        raise InvalidVolumeError(f"{path}: expected finite voxel values, but some are infinite or not a number")
    return Volume(voxels, affine_of(image))


def read_slice(path: str | Path, k: int) -> Volume:
    """Read slice ``k`` of a 3-D NIfTI file as a volume of one slice; the other slices stay on disk.

    The affine leads from ``(i, j, 0)`` to RAS mm.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        As `read_volume`; only the slice itself is checked for numbers that are not finite.
    """
    image = open_volume(path)
    try:
        voxels = np.asarray(image.dataobj[..., k : k + 1], dtype=np.float32)
    except _BAD_VOXELS as err:
        raise _damaged(path, f"slice {k}", err) from err
    if not np.isfinite(voxels).all():
        raise InvalidVolumeError(f"{path}: expected finite voxel values, but some of slice {k} are not")
    affine = affine_of(image)
    affine[:3, 3] += k * affine[:3, 2]
    return Volume(voxels, affine)


def stored_voxels(image: Nifti1Image, path: str | Path) -> npt.NDArray[Any]:
    """Voxels ``(i, j, k)`` as the file stores them, before slope and intercept.

    A ``.nii`` file is mapped into memory, a ``.nii.gz`` file is unpacked in its stored type.

    Raises
    ------
    InvalidVolumeError
        If the file is cut short, or its voxels are not numbers.
    """
    proxy, path = cast(ArrayProxy, image.dataobj), Path(path)
    if proxy.dtype.kind not in "iuf":
        raise InvalidVolumeError(f"{path}: expected numbers as voxels, but found the type {proxy.dtype}")
    try:
        if path.name.endswith(".gz"):
            # ISA-L unpacks the whole file at once; nibabel would read it in pieces through Python's gzip.
            unpacked = igzip.decompress(path.read_bytes())
            count = int(np.prod(proxy.shape))
            return np.frombuffer(unpacked, proxy.dtype, count, proxy.offset).reshape(proxy.shape, order="F")
        return np.memmap(path, dtype=proxy.dtype, mode="r", offset=proxy.offset, shape=proxy.shape, order="F")
    except _BAD_VOXELS as err:
        raise _damaged(path, "the voxels", err) from err


def open_volume(path: str | Path) -> Nifti1Image:
    """Open a 3-D NIfTI file and check its header; the voxels stay on disk.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        As `read_volume`, as far as the header shows it.
    """
    if not Path(path).is_file():
        raise MissingInputError(f"expected a NIfTI volume, but there is no file {path}")
    try:
        image = nib.load(path)
    except UNREADABLE as err:
        raise InvalidVolumeError(f"{path}: expected a NIfTI volume, but it cannot be read as one ({err})") from err
    if not isinstance(image, Nifti1Image):  # nibabel opens many formats, whose affines follow other conventions
        raise InvalidVolumeError(f"{path}: expected NIfTI, but found {type(image).__name__}")
    if len(image.shape) != 3 or min(image.shape) < 1:  # headers with axes of 0 and of negative numbers were seen
        raise NotVolumetricError(f"{path}: expected a 3-D volume, but found the shape {image.shape}")
    determinant = abs(np.linalg.det(np.asarray(image.affine)[:3, :3]))
    if not SMALLEST_VOXEL_MM3 < determinant < np.inf:  # written so that NaN is refused too
        raise SingularAffineError(
            f"{path}: expected an affine with a volume per voxel, but its determinant is {determinant}"
        )
    return image


def affine_of(image: Nifti1Image) -> Array:
    """A copy of an image's affine ``(4, 4)`` from voxels to RAS mm."""
    return np.array(image.affine, dtype=np.float64)


def _damaged(path: str | Path, what: str, err: Exception) -> InvalidVolumeError:
    return InvalidVolumeError(f"{path}: {what} cannot be read, the file is damaged or cut short ({err})")
