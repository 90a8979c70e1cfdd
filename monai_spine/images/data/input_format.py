"""The form in which a classifier receives images: number of channels, size, intensity scale.

Training, evaluation and inference use the same form; it is stored in the description beside the weights.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from monai_spine.errors import InvalidImageError, InvalidOptionError
from monai_spine.images.data.pixels import Mode, Pixels, read_image

_VERSION = 1
"""Part of the key of stored images: increase it when `ImageForm.read` returns other values than before."""
_PERCENTILES = (0.5, 99.5)

StoredPixels = npt.NDArray[np.uint8] | npt.NDArray[np.float16]


class Fit(str, Enum):
    """How an image is fitted to the size of the form."""

    PAD = "pad"
    """The whole image with its aspect ratio, centred on black."""
    CROP = "crop"
    """The middle of the image with its aspect ratio, as large as fills the form."""
    STRETCH = "stretch"
    """The whole image, its aspect ratio changed."""


class Intensity(str, Enum):
    """How intensities are scaled."""

    GIVEN = "given"
    """The range of the file's bit depth becomes 0 to 255."""
    PERCENTILES = "percentiles"
    """The percentiles 0.5 and 99.5 of each channel of each image become 0 and 255, for files of arbitrary exposure."""


@dataclass(frozen=True)
class ImageForm:
    """What every image is converted to before a network sees it.

    Raises `InvalidOptionError` if the fit or the intensity is unknown, or a number is below 1.
    """

    channels: int = 3
    """1 for grey, 3 for colour, or the number of files of an image."""
    pixels: tuple[int, int] = (224, 224)
    """Numbers of rows and columns."""
    fit: Fit = Fit.PAD
    intensity: Intensity = Intensity.GIVEN
    """``fit``, ``intensity``: see `Fit` and `Intensity`."""

    def __post_init__(self) -> None:
        for name, known in (("fit", Fit), ("intensity", Intensity)):
            value = getattr(self, name)
            if value not in [one.value for one in known]:
                words = " or ".join(repr(one.value) for one in known)
                raise InvalidOptionError(f"expected {name} as {words}, but found {value!r}")
            object.__setattr__(self, name, known(value))
        try:
            rows, columns = (int(n) for n in self.pixels)
        except (ValueError, TypeError) as err:
            raise InvalidOptionError(f"expected pixels as [rows, columns], but found {self.pixels!r}") from err
        object.__setattr__(self, "pixels", (rows, columns))
        if min(self.channels, rows, columns) < 1:
            raise InvalidOptionError(f"expected channels and pixels from 1, but found {self.channels}, {self.pixels}")

    @property
    def key(self) -> str:
        """A hash that differs for any two forms that read an image differently."""
        values = {name: getattr(value, "value", value) for name, value in asdict(self).items()}
        return hashlib.sha256(f"{_VERSION} {values}".encode()).hexdigest()[:16]

    def read(self, paths: Sequence[str]) -> StoredPixels:
        """An image of one file, or of a grey file for each channel.

        Returns ``(rows, columns, channels)`` from 0 to 255, ``uint8``, or ``float16`` if a file has more than 8 bits.
        Raises `InvalidImageError` or `MissingInputError` as `read_image`, and if the number of channels is not that of
        the form.
        """
        # When cropped, even the shorter side of the image covers the longer side of the form.
        size = max(self.pixels)
        pixels = read_image(paths, Mode.GREY if self.channels == 1 else Mode.COLOUR, size)
        if len(pixels) != self.channels:
            raise InvalidImageError(f"{paths[0]}: expected {self.channels} channels, but found {len(pixels)}")
        if self.intensity is Intensity.PERCENTILES:
            pixels = _stretched(pixels)
        fitted = _fitted(pixels, self.pixels, self.fit)
        # float16 has 11 bits: steps of 1/8 at 255, finer below, in half the memory of float32.
        return cast("StoredPixels", fitted if fitted.dtype == np.uint8 else fitted.astype(np.float16))


def _stretched(image: Pixels) -> Pixels:
    """Each channel with its low percentile at 0 and its high one at 255, with the same data type."""
    low, high = np.percentile(image, _PERCENTILES, axis=(1, 2), keepdims=True).astype(np.float32)
    scaled = (image.astype(np.float32) - low) * (255 / np.maximum(high - low, 1e-6))
    return np.clip(scaled.round() if image.dtype == np.uint8 else scaled, 0, 255).astype(image.dtype)


def _fitted(image: Pixels, pixels: tuple[int, int], fit: Fit) -> Pixels:
    """``(channels, rows, columns)`` as ``(*pixels, channels)``."""
    rows, columns = image.shape[1:]
    if fit is Fit.STRETCH:
        return _resized(image, pixels)
    scales = (pixels[0] / rows, pixels[1] / columns)
    scale = min(scales) if fit is Fit.PAD else max(scales)
    # One pixel remains of the shorter side, however oblong the image is.
    size = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    resized = _resized(image, size)
    placed = np.zeros((*pixels, image.shape[0]), dtype=image.dtype)
    source, target = zip(*(_overlap(n, target) for n, target in zip(size, pixels, strict=True)), strict=True)
    placed[target] = resized[source]
    return placed


def _overlap(source: int, target: int) -> tuple[slice, slice]:
    """Where two axes of these lengths overlap if their middles coincide: in the source, and in the target."""
    length = min(source, target)
    first, into = (source - length) // 2, (target - length) // 2
    return slice(first, first + length), slice(into, into + length)


def _resized(image: Pixels, pixels: tuple[int, int]) -> Pixels:
    """``(channels, rows, columns)`` as ``(*pixels, channels)``; Pillow's filter smooths where it shrinks."""
    size = (pixels[1], pixels[0])
    # Pillow has modes for colour of 8 bits and for single channels, but none for colour of floating point.
    if image.dtype == np.uint8 and image.shape[0] == 3:
        return np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize(size, Image.Resampling.BILINEAR))
    planes = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)) for plane in image]
    return np.stack(planes, axis=-1)
