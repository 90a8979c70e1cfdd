"""The pixels of an image file: PNG, JPEG, TIFF, BMP, WebP or 2-D NIfTI, of any bit depth, as grey or colour.

All values are on the scale 0 to 255, whatever the bit depth of the file:

- 8 bits stay ``uint8``.
- 16 bits become ``float32``, value / 257, so that 65,535 becomes 255. Nothing is lost.
- Values without a fixed range (floating point, 32 bits, NIfTI other than 8 bits) become ``float32``, with the image's
  minimum at 0 and its maximum at 255.

DICOM is not read here: `data_prep images` converts it to 16-bit PNG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from monai_spine.data.nifti_file import UNREADABLE, open_nifti
from monai_spine.errors import InvalidImageError, InvalidVolumeError, MissingInputError, one_line

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

MAX_PIXELS = 100_000_000
"""At most this many pixels (10,000 x 10,000) are decoded; a baseline JPEG may have more if it is decoded reduced."""
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp"),
    *(".nii", ".nii.gz"),
)
"""Endings of file names of these formats, in lower case."""
_NIFTI = (".nii", ".nii.gz")
_SIXTEEN_BIT_MODES = {"I;16", "I;16L", "I;16B", "I;16N"}
_STRETCHED_MODES = {"I", "F"}


class Mode(str, Enum):
    """The channels to read."""

    GREY = "grey"
    COLOUR = "colour"


def read_image(paths: Sequence[str | Path], mode: Mode, size: int | None = None) -> Pixels:
    """The image of a datalist's record: one file in the given mode, or one grey channel from each of several files.

    Returns ``(channels, rows, columns)`` from 0 to 255, ``uint8``, or ``float32`` if any of the files has more than 8
    bits.
    Raises `InvalidImageError` as `read_pixels`, and if the channels differ in size.
    Raises `MissingInputError` if a file does not exist.
    """
    if len(paths) == 1:
        return read_pixels(paths[0], mode, size)
    channels = [read_pixels(path, Mode.GREY, size) for path in paths]
    for path, channel in zip(paths, channels, strict=True):
        if channel.shape != channels[0].shape:
            raise InvalidImageError(
                f"{path}: expected {_size_text(channels[0].shape[2], channels[0].shape[1])} as its first channel "
                f"{Path(paths[0]).name}, but found {_size_text(channel.shape[2], channel.shape[1])}"
            )
    return cast("Pixels", np.concatenate(channels))


def read_pixels(path: str | Path, mode: Mode, size: int | None = None) -> Pixels:
    """Pixels of one file, upright (EXIF's orientation is applied), with transparent parts on black.

    ``mode``: grey is the ITU-R 601 luma of colour. CMYK and palettes are converted to RGB first. Colour with more than
    8 bits a channel loses its lower bits.
    ``size``: a length of the shorter side, in pixels, that is enough. JPEGs are then decoded at 1/2, 1/4 or 1/8 of
    their size, the smallest of these that is still enough; this takes a fraction of the time and memory.
    Returns ``(channels, rows, columns)``, ``uint8`` or ``float32`` from 0 to 255. A NIfTI slice has the radiological
    orientation, by its affine (RAS): the patient's right (or front) on the left, head (or front) on top.
    Raises `MissingInputError` if there is no such file.
    Raises `InvalidImageError` if it is empty, cut short, damaged or of another format, holds several images or values
    that are not finite, or would be decoded to more than `MAX_PIXELS`.
    """
    if not Path(path).is_file():
        raise MissingInputError(f"expected an image, but there is no file {path}")
    if str(path).lower().endswith(_NIFTI):
        return _in_mode(_nifti_plane(path), mode)
    try:
        with Path(path).open("rb") as file:
            return _decoded(_opened(file, path), path, mode, size)
    except InvalidImageError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of any type on damaged files
        raise InvalidImageError(f"{path}: the image is damaged or cut short ({_reason(error)})") from error


def _opened(file: BinaryIO, path: str | Path) -> Image.Image:
    """The image with only its header read. The first bytes decide the format, since the name may be wrong."""
    # Not Image.open: it refuses large images before a JPEG can be asked for at a reduced size.
    Image.init()
    start = file.read(16)
    if not start:
        raise InvalidImageError(f"{path}: expected an image, but the file is empty")
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(start):
            file.seek(0)
            try:
                return factory(file, str(path))
            except Exception as error:  # Pillow raises errors of any type on damaged headers
                raise InvalidImageError(f"{path}: the {name} header is damaged ({_reason(error)})") from error
    raise InvalidImageError(f"{path}: expected {', '.join(FORMATS)} or NIfTI, but it begins like none of them")


def _decoded(image: Image.Image, path: str | Path, mode: Mode, size: int | None) -> Pixels:
    # The decoder keeps all of a progressive JPEG in memory, even if it is asked for a reduced one.
    if isinstance(image, JpegImageFile) and not ("progressive" in image.info and _is_large(image)):
        image.draft("L" if mode is Mode.GREY and image.mode == "RGB" else image.mode, (size, size) if size else None)
    if _is_large(image):
        raise InvalidImageError(
            f"{path}: expected at most {MAX_PIXELS:,} pixels to decode at once, but found "
            f"{_size_text(*image.size)}; reduce it, or cut it into tiles"
        )
    _check_single(image, path)
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in _SIXTEEN_BIT_MODES:
        # 65,535 / 255 = 257
        return _in_mode((np.asarray(image, dtype=np.float32) / np.float32(257))[None], mode)
    if image.mode in _STRETCHED_MODES:
        return _in_mode(_stretched(np.asarray(image), path)[None], mode)
    image = _flattened(image)
    if mode is Mode.GREY or image.mode in {"1", "L"}:
        return _in_mode(np.array(_converted(image, "L"))[None], mode)
    return np.ascontiguousarray(np.asarray(_converted(image, "RGB")).transpose(2, 0, 1))


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height > MAX_PIXELS


def _check_single(image: Image.Image, path: str | Path) -> None:
    if image.format != "TIFF" or getattr(image, "n_frames", 1) == 1:
        return
    first = image.size
    image.seek(1)
    second = image.size
    image.seek(0)
    if first == second:  # a second page of another size is a preview, which does no harm
        raise InvalidImageError(
            f"{path}: expected one image, but found {cast('Any', image).n_frames}; save each page as a file"
        )


def _flattened(image: Image.Image) -> Image.Image:
    """An image without transparency: transparent parts become black."""
    if image.mode not in {"RGBA", "LA", "PA", "RGBa", "La"} and "transparency" not in image.info:
        return image
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in one of Pillow's modes."""
    # Pillow copies an image that already has the mode.
    return image if image.mode == mode else image.convert(mode)


def _nifti_plane(path: str | Path) -> Pixels:
    """The slice of a 2-D NIfTI file in radiological orientation, ``(1, rows, columns)``."""
    try:
        # The header names the size, so that a volume that is too large is not even unpacked.
        shape = tuple(open_nifti(path).shape)
        small = math.prod(shape[:3]) <= MAX_PIXELS
        image = open_nifti(path, unpacked=small)
        values = np.asarray(image.dataobj) if small else None
    except (InvalidVolumeError, *UNREADABLE) as error:
        reason = _reason(error).removeprefix(f"{path}: ")
        raise InvalidImageError(f"{path}: the NIfTI file is damaged or cut short ({reason})") from error
    if values is None or sum(n > 1 for n in shape) > 2 or values.dtype.kind not in "uif":
        raise InvalidImageError(f"{path}: expected one grey slice, but found the shape {shape}")
    plane = _radiological(values.reshape([*shape, 1, 1][:3]), image.affine)
    if plane.dtype == np.uint8:
        return cast("Pixels", np.ascontiguousarray(plane[None]))
    return _stretched(plane, path)[None]


def _radiological(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """A slice ``(i, j, k)`` with one axis of length 1 as ``(rows, columns)`` in radiological orientation.

    Columns run against the first of the world axes R, A, S that lies in the slice; rows run against the other one.
    """
    through = int(np.argmin(voxels.shape)) if voxels.shape[2] != 1 else 2
    in_plane = [axis for axis in range(3) if axis != through]
    world = nib.orientations.io_orientation(affine)
    # A degenerate affine has no world axis (NaN) for some voxel axis: keep the order of the voxel axes there.
    order = sorted(in_plane, key=lambda axis: world[axis, 0] if np.isfinite(world[axis, 0]) else axis)
    plane = voxels.transpose(order[1], order[0], through)[:, :, 0]
    return np.flip(plane, tuple(n for n, axis in enumerate(reversed(order)) if not world[axis, 1] < 0))


def _stretched(values: npt.NDArray[Any], path: str | Path) -> npt.NDArray[np.float32]:
    """Values with their minimum at 0 and their maximum at 255; all 0 if they are equal."""
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite(high - low):
        raise InvalidImageError(f"{path}: expected finite values, but some are infinite or not a number")
    return ((values - low) * (255 / (high - low or 1))).astype(np.float32)


def _in_mode(grey: Pixels, mode: Mode) -> Pixels:
    """A grey image ``(1, rows, columns)`` as it is, or in colour with three equal channels."""
    return grey if mode is Mode.GREY else cast("Pixels", np.repeat(grey, 3, axis=0))


def _size_text(width: int, height: int) -> str:
    return f"{width} x {height} pixels"


def _reason(error: Exception) -> str:
    return one_line(error) or type(error).__name__
