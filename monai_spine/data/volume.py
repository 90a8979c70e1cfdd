"""The one reader of NIfTI volumes: header checks, voxels, and the affine to RAS millimetres.

First step of every flow that starts from NIfTI files. There are three ways to get the voxels, by what they cost:
`read_volume` (all, as float32), `read_slice` (one slice, as float32) and `stored_voxels` (all, in the type of the file,
mapped into memory where that is possible). The first two have the slices along their last axis, whatever the order of
the file's axes: programs that turn volumes to RAS put the slices of a sagittal stack first.
"""

import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Image
from nibabel.orientations import io_orientation
from nibabel.spatialimages import HeaderDataError

from monai_spine.data.nifti_file import MOST_BYTES, UNREADABLE, is_gzip, open_nifti, unpack, unreadable
from monai_spine.errors import (
    InvalidVolumeError,
    NoAffineError,
    NotVolumetricError,
    SingularAffineError,
    TwoAffinesError,
)
from monai_spine.geometry import Array, Plane, spacing

WINDOW = (1.0, 99.5)
"""Percentiles of a volume's grey values that become 0 and 1: for all networks of spines, and in pictures for people."""

SMALLEST_VOXEL_MM3 = 1e-6
"""Cubic millimetres per voxel below which an affine counts as singular."""

CONTRADICTION_MM = 1.0
"""How far apart sform and qform may put a voxel. Headers of 124 real volumes agree to 0.05 mm."""
LARGEST_VOXEL_MM = 100.0
"""No voxel of a patient is longer. A longer one has another unit than the millimetre, or a damaged affine."""
LARGEST_SIDE_MM = 2000.0
"""No volume of a patient is longer. A longer one would need memory in proportion when it is resampled."""
FARTHEST_MM = 100_000.0
"""How far from the origin a volume may begin: beyond, millimetres are lost in the rounding of 32-bit numbers."""
THICK = 1.3
"""The slices are along the axis whose spacing is this many times the others'; other volumes have no coarsest axis."""
SUFFIXES = (".nii", ".nii.gz")
"""Ends of the names of NIfTI files, in lower case."""
_NORMAL_AXIS = {Plane.SAGITTAL: 0, Plane.CORONAL: 1, Plane.AXIAL: 2}
_DAMAGED = "{} cannot be read, the file is damaged or cut short"

Opener = Callable[[str | Path], Nifti1Image]
"""A function that opens a volume: `open_volume`, `open_unpacked`, or the method of a cache."""


@dataclass(frozen=True)
class Volume:
    """Voxels ``(i, j, k)`` as float32, slices along ``k``, and the affine ``(4, 4)`` from voxels to RAS mm."""

    voxels: npt.NDArray[np.float32]
    affine: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return self.voxels.shape


def read_volume(path: str | Path, opened: Opener | None = None) -> Volume:
    """Read a 3-D NIfTI file that ``opened`` opens, `open_unpacked` if None.

    Raises `MissingInputError` if there is no such file.
    Raises `InvalidVolumeError` if it is not NIfTI, is cut short, is not 3-D, holds numbers that are not finite, has a
    singular affine or none, or a qform that contradicts its sform.
    """
    image = (opened or open_unpacked)(path)
    _check_grey(image, path)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32 become infinite, and are refused
            voxels = np.asarray(image.dataobj, dtype=np.float32)
    except UNREADABLE as err:
        raise unreadable(path, _DAMAGED.format("the voxels"), err) from err
    if not np.isfinite(voxels).all():
        raise InvalidVolumeError(f"{path}: expected finite voxel values, but some are infinite or not a number")
    axes = slices_last(image)
    return Volume(voxels.transpose(axes), slice_geometry(image)[0])


def read_slice(path: str | Path, k: int, opened: Opener | None = None) -> Volume:
    """Read slice ``k`` of a 3-D NIfTI file as a volume of one slice; the other slices stay on disk.

    The affine leads from ``(i, j, 0)`` to RAS mm. ``opened`` opens the file, `open_unpacked` if None. Slices are
    counted along the axis of `slices_last`.

    Raises `MissingInputError` or `InvalidVolumeError` as `read_volume`; only the slice itself is checked for numbers
    that are not finite.
    """
    image = (opened or open_unpacked)(path)
    _check_grey(image, path)
    axes = slices_last(image)
    part = tuple(slice(k, k + 1) if axis == axes[2] else slice(None) for axis in range(3))
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            voxels = np.asarray(image.dataobj[part], dtype=np.float32).transpose(axes)
    except UNREADABLE as err:
        raise unreadable(path, _DAMAGED.format(f"slice {k}"), err) from err
    if not np.isfinite(voxels).all():
        raise InvalidVolumeError(f"{path}: expected finite voxel values, but some of slice {k} are not")
    affine = slice_geometry(image)[0]
    affine[:3, 3] += k * affine[:3, 2]
    return Volume(voxels, affine)


def stored_voxels(image: Nifti1Image, path: str | Path) -> npt.NDArray[Any]:
    """Voxels ``(i, j, k)`` as the file stores them, before slope and intercept.

    Parameters
    ----------
    image
        From `open_unpacked` or `open_volume`. The voxels of a ``.nii`` file are read; the unpacked voxels of a
        ``.nii.gz`` file are not copied.

    Raises
    ------
    InvalidVolumeError
        If the file is cut short, or its voxels are not numbers.
    """
    proxy, path = cast(ArrayProxy, image.dataobj), Path(path)
    _check_grey(image, path)
    try:
        if isinstance(proxy.file_like, io.BytesIO):
            unpacked = proxy.file_like.getvalue()  # shares the bytes; get_unscaled() would copy them
        elif is_gzip(path):
            unpacked = unpack(path, 2 * MOST_BYTES)  # the header was checked when the image was opened
        else:
            # Not mapped: to touch a mapped page that a file has lost since it was opened kills the process.
            count = int(np.prod(proxy.shape))
            stored = np.fromfile(path, dtype=proxy.dtype, count=count, offset=int(proxy.offset))
            return stored.reshape(proxy.shape, order="F")  # fails if the file is shorter by now
        count = int(np.prod(proxy.shape))
        return np.frombuffer(unpacked, proxy.dtype, count, proxy.offset).reshape(proxy.shape, order="F")
    except UNREADABLE as err:
        raise unreadable(path, _DAMAGED.format("the voxels"), err) from err


def open_volume(path: str | Path) -> Nifti1Image:
    """Open a 3-D NIfTI file and check its header; the voxels stay on disk, and are not to be read: see `open_unpacked`.

    Raises `MissingInputError` or `InvalidVolumeError` as `read_volume`, as far as the header shows it.
    """
    return _checked(open_nifti(path), path)


def open_unpacked(path: str | Path) -> Nifti1Image:
    """`open_volume`, with the voxels of a ``.nii.gz`` file unpacked into memory; those of a ``.nii`` file stay on disk.

    Whatever reads the image afterwards does not read the packed file again.

    Raises `MissingInputError` or `InvalidVolumeError` as `open_volume`; also if the file cannot be unpacked, or its
    checksum is wrong.
    """
    return _checked(open_nifti(path, unpacked=True), path)


@np.errstate(all="ignore")  # headers may hold any number; what comes of it is checked
def _checked(image: Nifti1Image, path: str | Path) -> Nifti1Image:
    image = _without_last_axes(image)
    if len(image.shape) != 3:
        raise NotVolumetricError(f"{path}: expected a 3-D volume, but found the shape {image.shape}")
    determinant = abs(np.linalg.det(np.asarray(image.affine, dtype=np.float64)[:3, :3]))
    if not SMALLEST_VOXEL_MM3 < determinant < np.inf:  # written so that NaN is refused too
        raise SingularAffineError(
            f"{path}: expected an affine with a volume per voxel, but its determinant is {determinant}"
        )
    _check_place(image, path)
    return image


def _without_last_axes(image: Nifti1Image) -> Nifti1Image:
    """A volume over time of one time point as a 3-D volume; the voxels stay on disk."""
    shape = image.shape
    if len(shape) <= 3 or any(size != 1 for size in shape[3:]):
        return image
    proxy = cast(Any, image.dataobj).reshape(shape[:3])
    return type(image)(proxy, image.affine, image.header)


def _check_grey(image: Nifti1Image, path: str | Path) -> None:
    """Refuse a volume of colours or other values that are no numbers.

    Raises
    ------
    InvalidVolumeError
    """
    if values := not_grey(image):
        raise InvalidVolumeError(f"{path}: expected numbers as voxels, but found {values}")


def not_grey(image: Nifti1Image) -> str:
    """What a voxel of the volume holds, if that is not one real number; else empty."""
    dtype = image.get_data_dtype()
    if dtype.names:
        return f"colours ({', '.join(dtype.names)})"
    return "" if dtype.kind in "iuf" else f"the type {dtype}"


def _check_place(image: Nifti1Image, path: str | Path) -> None:
    """Refuse a volume that does not say where it lies, or says two places, or has an impossible size.

    Raises `NoAffineError`, `TwoAffinesError`, `SingularAffineError` or `InvalidVolumeError`.
    """
    header = image.header
    codes = int(header["qform_code"]), int(header["sform_code"])
    if max(codes) <= 0:
        raise NoAffineError(
            f"{path}: expected a qform or an sform, but qform_code is {codes[0]} and sform_code {codes[1]}: the file "
            "does not say where the volume lies, or which side is left"
        )
    sform = affine_of(image)
    if not np.isfinite(sform).all():
        raise SingularAffineError(f"{path}: expected a finite affine, but it holds numbers that are not")
    longest = float(spacing(sform).max())
    if longest > LARGEST_VOXEL_MM:
        raise InvalidVolumeError(
            f"{path}: expected voxels of at most {LARGEST_VOXEL_MM:g} mm, but found {longest:.4g} mm; is its unit the "
            "millimetre?"
        )
    side = float((spacing(sform) * image.shape).max())
    if side > LARGEST_SIDE_MM:
        raise InvalidVolumeError(
            f"{path}: expected a volume of at most {LARGEST_SIDE_MM:g} mm, but found {side:.4g} mm; is its unit the "
            "millimetre?"
        )
    if not np.abs(sform[:3, 3]).max() <= FARTHEST_MM:
        raise InvalidVolumeError(
            f"{path}: expected a volume within {FARTHEST_MM:g} mm of the scanner's middle, but its first voxel lies at "
            f"{', '.join(f'{value:.4g}' for value in sform[:3, 3])} mm"
        )
    if min(codes) > 0:
        _check_same_place(image, sform, path)


def _check_same_place(image: Nifti1Image, sform: Array, path: str | Path) -> None:
    """Raises `TwoAffinesError` if the qform puts a corner elsewhere than the sform."""
    try:
        qform = np.asarray(image.header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError) as err:
        raise TwoAffinesError(f"{path}: expected a qform like the sform, but it is none ({err})") from err
    corners = np.array(list(itertools.product(*[(0, size - 1) for size in image.shape])))
    moved = corners @ (qform - sform)[:3, :3].T + (qform - sform)[:3, 3]
    apart = float(np.linalg.norm(moved, axis=1).max())
    if not apart <= CONTRADICTION_MM:
        mirrored = np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0
        raise TwoAffinesError(
            f"{path}: qform and sform put one corner {apart:.1f} mm apart, expected at most {CONTRADICTION_MM:g}"
            f"{', and one is the mirror image of the other' if mirrored else ''}; rewrite the header with one of them"
        )


def slice_axis(image: Nifti1Image, stated: Plane | None = None) -> int:
    """The axis along which the slices follow each other.

    It is the axis with the coarsest spacing. Where no spacing is `THICK` times the others', it is the axis normal to
    the plane that is ``stated``, else the one that the header's ``dim_info`` names, else the third.
    """
    coarsest = coarsest_axis(affine_of(image))
    if coarsest is not None:
        return coarsest
    if stated is not None:
        normal = np.flatnonzero(io_orientation(affine_of(image))[:, 0] == _NORMAL_AXIS[stated])
        if len(normal):
            return int(normal[0])
    named = image.header.get_dim_info()[2]
    return 2 if named is None else int(named)


def coarsest_axis(affine: Array) -> int | None:
    """The axis whose spacing is `THICK` times the others', if there is one."""
    step = spacing(affine)
    axis = int(np.argmax(step))
    return axis if step[axis] >= THICK * np.delete(step, axis).max() else None


def slices_last(image: Nifti1Image, stated: Plane | None = None) -> tuple[int, int, int]:
    """The file's axes in an order that has the slices last; see `slice_axis`."""
    axis = slice_axis(image, stated)
    first, second = (other for other in range(3) if other != axis)
    return first, second, axis


def slice_geometry(image: Nifti1Image, stated: Plane | None = None) -> tuple[Array, tuple[int, int, int]]:
    """The affine ``(4, 4)`` to RAS mm and the shape of an image whose axes are ordered by `slices_last`."""
    axes = slices_last(image, stated)
    i, j, k = (int(image.shape[axis]) for axis in axes)
    return affine_of(image)[:, [*axes, 3]], (i, j, k)


def affine_of(image: Nifti1Image) -> Array:
    """A copy of an image's affine ``(4, 4)`` from voxels to RAS mm."""
    return np.array(image.affine, dtype=np.float64)
