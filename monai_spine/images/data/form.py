"""The form in which a classifier takes images, whatever files they come from; the same in training and in use."""

from __future__ import annotations

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
"""To be raised by whoever changes what `ImageForm.read` gives."""
_PERCENTILES = (0.5, 99.5)

Held = npt.NDArray[np.uint8] | npt.NDArray[np.float16]


class Fit(str, Enum):
    """How an image of any shape comes into a given one."""

    PAD = "pad"
    """Whole, with its proportions, in the middle of black."""
    CROP = "crop"
    """Its middle, with its proportions."""
    STRETCH = "stretch"
    """Whole, its proportions changed."""


class Intensity(str, Enum):
    """On which scale grey values are."""

    GIVEN = "given"
    """As the file has them, its depth on 0 to 255."""
    PERCENTILES = "percentiles"
    """Each channel of each image from its percentile 0.5 to its percentile 99.5, for files of arbitrary exposure."""


@dataclass(frozen=True)
class ImageForm:
    """What an image becomes before anything learns from it.

    Attributes
    ----------
    channels
        1 for grey, 3 for colour, or as many as an image has files.
    pixels
        Rows and columns.
    fit, intensity
        See `Fit` and `Intensity`.

    Raises
    ------
    InvalidOptionError
        If a word is not known or a number is below 1.
    """

    channels: int = 3
    pixels: tuple[int, int] = (224, 224)
    fit: Fit = Fit.PAD
    intensity: Intensity = Intensity.GIVEN

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "fit", Fit(self.fit))
            object.__setattr__(self, "intensity", Intensity(self.intensity))
            rows, columns = (int(n) for n in self.pixels)
        except (ValueError, TypeError) as err:
            raise InvalidOptionError(f"expected pixels as [rows, columns], a fit and an intensity: {err}") from err
        object.__setattr__(self, "pixels", (rows, columns))
        if min(self.channels, rows, columns) < 1:
            raise InvalidOptionError(f"expected channels and pixels from 1, but found {self.channels}, {self.pixels}")

    @property
    def key(self) -> str:
        """A word that changes with whatever changes what is read."""
        said = {name: getattr(value, "value", value) for name, value in asdict(self).items()}
        return hashlib.sha256(f"{_VERSION} {said}".encode()).hexdigest()[:16]

    def read(self, paths: Sequence[str]) -> Held:
        """An image of one file, or of a grey file for each channel, as ``(rows, columns, channels)`` from 0 to 255.

        ``uint8``, or ``float16`` where a file has more than 8 bits.

        Raises
        ------
        InvalidImageError, MissingInputError
            As `read_image`, and if the files make another number of channels.
        """
        size = max(self.pixels)
        found = read_image(paths, Mode.GREY if self.channels == 1 else Mode.COLOUR, size)
        if len(found) != self.channels:
            raise InvalidImageError(f"{paths[0]}: expected {self.channels} channels, but found {len(found)}")
        if self.intensity is Intensity.PERCENTILES:
            found = _stretched(found)
        fitted = _fitted(found, self.pixels, self.fit)
        return cast("Held", fitted if fitted.dtype == np.uint8 else fitted.astype(np.float16))


def _stretched(image: Pixels) -> Pixels:
    """Each channel from its low percentile to its high one onto 0 to 255, of the same type."""
    low, high = np.percentile(image, _PERCENTILES, axis=(1, 2), keepdims=True).astype(np.float32)
    scaled = (image.astype(np.float32) - low) * (255 / np.maximum(high - low, 1e-6))
    return np.clip(scaled.round() if image.dtype == np.uint8 else scaled, 0, 255).astype(image.dtype)


def _fitted(image: Pixels, pixels: tuple[int, int], fit: Fit) -> Pixels:
    """``(channels, rows, columns)`` as ``(*pixels, channels)``."""
    rows, columns = image.shape[1:]
    wanted_rows, wanted_columns = pixels
    if fit is Fit.STRETCH:
        return _resized(image, pixels)
    scales = (wanted_rows / rows, wanted_columns / columns)
    scale = min(scales) if fit is Fit.PAD else max(scales)
    near = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    resized = _resized(image, near)
    placed = np.zeros((*pixels, image.shape[0]), dtype=image.dtype)
    source, target = zip(*(_overlap(n, wanted) for n, wanted in zip(near, pixels, strict=True)), strict=True)
    placed[target] = resized[source]
    return placed


def _overlap(size: int, wanted: int) -> tuple[slice, slice]:
    """Where the middle of an axis is taken from, and where it goes to."""
    length = min(size, wanted)
    start, place = (size - length) // 2, (wanted - length) // 2
    return slice(start, start + length), slice(place, place + length)


def _resized(image: Pixels, pixels: tuple[int, int]) -> Pixels:
    """``(channels, rows, columns)`` as ``(*pixels, channels)``, smoothed where it shrinks."""
    size = (pixels[1], pixels[0])
    if image.dtype == np.uint8 and image.shape[0] == 3:
        return np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize(size, Image.Resampling.BILINEAR))
    planes = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)) for plane in image]
    return np.stack(planes, axis=-1)
