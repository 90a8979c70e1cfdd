"""The pixels of an image file: PNG, JPEG, TIFF, BMP, WebP or 2-D NIfTI, of any bit depth, as grey or colour.

Values keep one scale, 0 to 255, whatever the file's depth: 8 bits stay ``uint8``; 16 bits become ``float32`` with their
full range on 0 to 255 (value / 257) and lose nothing; values without a natural range (floating point, 32 bits, NIfTI
other than 8 bits) are stretched from the image's least and greatest onto 0 to 255. DICOM is not read here:
`data_prep images` makes 16-bit PNG of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from monai_spine.errors import InvalidImageError, MissingInputError

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

MAX_PIXELS = 100_000_000
"""The most pixels that are decoded at once: 10,000 x 10,000. A baseline JPEG may have more if it is wanted smaller."""
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp"),
    *(".nii", ".nii.gz"),
)
"""What files of these formats are called, in lower case."""
_NIFTI = (".nii", ".nii.gz")
_DEEP = {"I;16", "I;16L", "I;16B", "I;16N"}
_STRETCHED = {"I", "F"}


class Mode(str, Enum):
    """Which channels are wanted."""

    GREY = "grey"
    COLOUR = "colour"

    @property
    def channels(self) -> int:
        """How many they are."""
        return 1 if self is Mode.GREY else 3


def read_image(paths: Sequence[str | Path], mode: Mode, size: int | None = None) -> Pixels:
    """An image of a datalist's record: one file in the given mode, or one grey channel from each of several files.

    Returns
    -------
    ``(channels, rows, columns)``, ``float32`` if any of the files is.

    Raises
    ------
    InvalidImageError
        As `read_pixels`, and if the channels differ in size.
    MissingInputError
        If a file is not there.
    """
    if len(paths) == 1:
        return read_pixels(paths[0], mode, size)
    channels = [read_pixels(path, Mode.GREY, size) for path in paths]
    for path, channel in zip(paths, channels, strict=True):
        if channel.shape != channels[0].shape:
            raise InvalidImageError(
                f"{path}: expected {_extent(channels[0].shape[2], channels[0].shape[1])} as its first channel "
                f"{Path(paths[0]).name}, but found {_extent(channel.shape[2], channel.shape[1])}"
            )
    return cast("Pixels", np.concatenate(channels))


def read_pixels(path: str | Path, mode: Mode, size: int | None = None) -> Pixels:
    """Pixels of one file, upright (EXIF's orientation is applied), transparent parts on black.

    Parameters
    ----------
    mode
        Grey is ITU-R 601 luma of colour. CMYK and palettes become RGB first; colour deeper than 8 bits loses its lower
        bits.
    size
        A shorter side in pixels that suffices: JPEGs are then decoded at 1/2, 1/4 or 1/8 of their size, not below it,
        which takes a fraction of time and memory.

    Returns
    -------
    ``(channels, rows, columns)``, ``uint8`` or ``float32`` of 0 to 255. For NIfTI, rows and columns as radiologists
    look at the slice: by its affine, the patient's right (or front) on the left, head (or front) on top.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InvalidImageError
        If it is empty, cut short, damaged, of another format, holds several images or numbers that are not finite, or
        would be decoded to more than `MAX_PIXELS`.
    """
    if not Path(path).is_file():
        raise MissingInputError(f"expected an image, but there is no file {path}")
    if str(path).lower().endswith(_NIFTI):
        return _in_mode(_nifti_plane(path), mode)
    with Path(path).open("rb") as file:
        image = _opened(file, path)
        try:
            return _decoded(image, path, mode, size)
        except InvalidImageError:
            raise
        except Exception as error:  # decoders raise errors of every kind on rubbish
            raise InvalidImageError(f"{path}: the image is damaged or cut short ({_words(error)})") from error


def _opened(file: BinaryIO, path: str | Path) -> Image.Image:
    """The image, its header read; by its first bytes, since the name may lie.

    Pillow's own ``open`` refuses by size, before a JPEG can be asked for at a smaller one.
    """
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
            except Exception as error:
                raise InvalidImageError(f"{path}: the {name} header is damaged ({_words(error)})") from error
    raise InvalidImageError(f"{path}: expected {', '.join(FORMATS)} or NIfTI, but it begins like none of them")


def _decoded(image: Image.Image, path: str | Path, mode: Mode, size: int | None) -> Pixels:
    if isinstance(image, JpegImageFile) and not ("progressive" in image.info and _is_large(image)):
        image.draft("L" if mode is Mode.GREY and image.mode == "RGB" else image.mode, (size, size) if size else None)
    if _is_large(image):
        raise InvalidImageError(
            f"{path}: expected at most {MAX_PIXELS:,} pixels to decode at once, but found "
            f"{_extent(*image.size)}; reduce it, or cut it into tiles"
        )
    _check_single(image, path)
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in _DEEP:
        return _in_mode((np.asarray(image, dtype=np.float32) / np.float32(257))[None], mode)
    if image.mode in _STRETCHED:
        return _in_mode(_stretched(np.asarray(image), path)[None], mode)
    image = _flattened(image)
    if mode is Mode.GREY or image.mode in {"1", "L"}:
        return _in_mode(np.array(_converted(image, "L"))[None], mode)
    return np.ascontiguousarray(np.asarray(_converted(image, "RGB")).transpose(2, 0, 1))


def _is_large(image: Image.Image) -> bool:
    """Whether it is too large to decode; a progressive JPEG is held whole, at whatever size it is asked for."""
    return image.width * image.height > MAX_PIXELS


def _check_single(image: Image.Image, path: str | Path) -> None:
    """A TIFF may hold several pages; a smaller second one, a preview, is let pass."""
    if image.format != "TIFF" or getattr(image, "n_frames", 1) == 1:
        return
    first = image.size
    image.seek(1)
    second = image.size
    image.seek(0)
    if first == second:
        raise InvalidImageError(
            f"{path}: expected one image, but found {cast('Any', image).n_frames}; save each page as a file"
        )


def _flattened(image: Image.Image) -> Image.Image:
    """An image without transparency: what is transparent becomes black."""
    if image.mode not in {"RGBA", "LA", "PA", "RGBa", "La"} and "transparency" not in image.info:
        return image
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in Pillow's mode, without the copy that Pillow makes of one that is in it."""
    return image if image.mode == mode else image.convert(mode)


def _nifti_plane(path: str | Path) -> Pixels:
    """The slice of a 2-D NIfTI file as it is looked at, ``(1, rows, columns)``."""
    try:
        image = cast("Any", nib.load(path))
        shape = tuple(image.shape)
        values = np.asarray(image.dataobj) if np.prod(shape[:3]) <= MAX_PIXELS else None
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InvalidImageError(f"{path}: the NIfTI file is damaged or cut short ({_words(error)})") from error
    if values is None or sum(n > 1 for n in shape) > 2 or values.dtype.kind not in "uif":
        raise InvalidImageError(f"{path}: expected one grey slice, but found the shape {shape}")
    plane = _as_looked_at(values.reshape([*shape, 1, 1][:3] if len(shape) < 3 else shape[:3]), image.affine)
    if plane.dtype == np.uint8:
        return cast("Pixels", np.ascontiguousarray(plane[None]))
    return _stretched(plane, path)[None]


def _as_looked_at(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """A slice ``(i, j, k)`` with one axis of length 1 as ``(rows, columns)``; see `read_pixels`.

    Columns run along the first of the world axes R, A, S that lies in the slice, rows along the other, both backwards.
    """
    through = int(np.argmin(voxels.shape)) if voxels.shape[2] != 1 else 2
    across = [axis for axis in range(3) if axis != through]
    world = nib.orientations.io_orientation(affine)
    order = sorted(across, key=lambda axis: world[axis, 0] if np.isfinite(world[axis, 0]) else axis)
    plane = voxels.transpose(order[1], order[0], through)[:, :, 0]
    return np.flip(plane, tuple(n for n, axis in enumerate(reversed(order)) if not world[axis, 1] < 0))


def _stretched(values: npt.NDArray[Any], path: str | Path) -> npt.NDArray[np.float32]:
    """Values from least to greatest on 0 to 255; all 0 if they are equal."""
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite(high - low):
        raise InvalidImageError(f"{path}: expected finite values, but some are infinite or not a number")
    return ((values - low) * (255 / (high - low or 1))).astype(np.float32)


def _in_mode(grey: Pixels, mode: Mode) -> Pixels:
    """A grey image ``(1, rows, columns)`` with as many equal channels as are wanted."""
    return grey if mode is Mode.GREY else cast("Pixels", np.repeat(grey, mode.channels, axis=0))


def _extent(width: int, height: int) -> str:
    return f"{width} x {height} pixels"


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
