"""Reading the volumes of a data set: a volume is read whole, or refused with a code."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image

from data_prep.check.codes import Code
from data_prep.check.entries import leaves_folder
from data_prep.choices import MAX_BYTES
from monai_spine.data.nifti_file import UNREADABLE
from monai_spine.data.sidecars import read_sidecar
from monai_spine.data.slice_plane import known_plane
from monai_spine.data.volume import Opener, Volume, not_grey, open_unpacked, open_volume, slice_geometry, slices_last
from monai_spine.errors import (
    InvalidTableError,
    InvalidVolumeError,
    NoAffineError,
    NotVolumetricError,
    SingularAffineError,
    TooLargeVolumeError,
    TwoAffinesError,
)
from monai_spine.geometry import Plane

_CODES = {
    NotVolumetricError: Code.NOT_3D,
    SingularAffineError: Code.AFFINE_SINGULAR,
    NoAffineError: Code.NO_AFFINE,
    TwoAffinesError: Code.TWO_AFFINES,
    TooLargeVolumeError: Code.VOLUME_TOO_LARGE,
}


class UnusableVolumeError(Exception):
    """A volume that cannot be checked further, with the code that says why; caught where a study is checked."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def read(folder: Path, name: str, plane: Plane) -> Volume:
    """Read a 3-D NIfTI file whose path ``name`` is relative to the datalist's folder.

    ``plane``: that of its slices if neither the file nor its sidecar shows another one.

    Raises `UnusableVolumeError` if the path leaves the folder, or the volume is not there, cannot be read, is not 3-D,
    has voxels that are not finite, an affine that is absent or singular, or two that contradict each other.
    """
    if leaves_folder(name):
        raise UnusableVolumeError(Code.PATH_OUTSIDE, "the path is absolute or climbs out of the folder")
    if not (folder / name).is_file():
        raise UnusableVolumeError(Code.VOLUME_MISSING, "there is no such file")
    path = folder / name
    _check_size(_open(path, open_volume).shape)
    image = _open(path, open_unpacked)
    slices = _known_plane(image, path) or plane
    return Volume(_voxels(image, path).transpose(slices_last(image, slices)), slice_geometry(image, slices)[0])


def _known_plane(image: Nifti1Image, path: Path) -> Plane | None:
    try:
        return known_plane(image, read_sidecar(path))
    except InvalidTableError as err:
        raise UnusableVolumeError(Code.VOLUME_UNREADABLE, _without_folder(err, path)) from err


def _open(path: Path, opened: Opener) -> Nifti1Image:
    try:
        with _silence():
            return opened(path)
    except InvalidVolumeError as err:
        detail = _without_folder(err, path).removeprefix(f"{path.name}: ")
        raise UnusableVolumeError(_CODES.get(type(err), Code.VOLUME_UNREADABLE), detail) from err


@contextmanager
def _silence() -> Iterator[None]:
    """Keep nibabel from printing how it repairs a header."""
    logger = logging.getLogger("nibabel.global")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check_size(shape: tuple[int, ...]) -> None:
    size = np.prod(shape, dtype=np.float64) * 4
    if size > MAX_BYTES:
        raise UnusableVolumeError(
            Code.VOLUME_TOO_LARGE,
            f"{' × '.join(map(str, shape))} voxels need {size / 2**30:.1f} GiB, expected at most {MAX_BYTES >> 30}",
        )


def _voxels(image: Nifti1Image, path: Path) -> npt.NDArray[np.float32]:
    if values := not_grey(image):
        raise UnusableVolumeError(Code.VOLUME_UNREADABLE, f"expected numbers as voxels, but found {values}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            voxels = np.asarray(image.dataobj, dtype=np.float32)
    except UNREADABLE as err:
        raise UnusableVolumeError(
            Code.VOLUME_UNREADABLE, f"damaged or cut short: {_without_folder(err, path)}"
        ) from err
    bad = int(voxels.size - np.isfinite(voxels).sum())
    if bad:
        raise UnusableVolumeError(Code.NOT_FINITE, f"{bad} of {voxels.size} voxels ({100 * bad / voxels.size:.2g} %)")
    return voxels


def _without_folder(err: Exception, path: Path) -> str:
    """The library's message without the folder, whose name may be private."""
    return (str(err) or type(err).__name__).replace(str(path), path.name)[:200]
