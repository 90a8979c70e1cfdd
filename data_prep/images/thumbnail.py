"""Small pictures of images, and the features by which they are compared.

The features are the 16 x 16 lowest frequencies of a thumbnail's discrete cosine transform, without the mean. Each is
weighted by its frequency, since natural images then have about equal energy in each. Cosines between these vectors do
not change with a gain or an offset. (Zauner's pHash of 2010 uses the signs of such coefficients. In a symmetric image,
half of them are near zero, and their signs are noise.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

SIDE = 48
"""Of a thumbnail, pixels."""
FREQUENCIES = 16
FEATURES = FREQUENCIES**2 - 1

Thumbnails = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]

_FAINT = 16
"""Grey levels of 255 by which the content differs from the border around it."""
_SHARE = 0.01
"""Share of a row or column that must differ from the border for it to belong to the content."""
_CROPPED = 0.05
_FLAT = 1.0
"""Standard deviation in grey levels below which an image shows nothing that could be compared."""
_WEIGHTS = np.hypot(*np.mgrid[:FREQUENCIES, :FREQUENCIES])


def views(grey: npt.NDArray[Any]) -> tuple[Thumbnails, Thumbnails]:
    """Thumbnails of an image ``(rows, columns)`` of 0 to 255, with and without its even border."""
    grey = grey if grey.dtype == np.uint8 else np.rint(grey).clip(0, 255).astype(np.uint8)
    return thumbnail(grey), thumbnail(trimmed(grey))


def thumbnail(grey: Thumbnails) -> Thumbnails:
    """``(SIDE, SIDE)`` of an image ``(rows, columns)``: averages over its parts, whatever its aspect."""
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX))


def trimmed(grey: Thumbnails) -> Thumbnails:
    """An image without an even border (copies may differ in its width); the whole image if hardly anything is left."""
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]).astype(np.float32)
    border = np.median(edge)
    if np.median(np.abs(edge - border)) > _FAINT:
        return grey
    low, high = (np.uint8(np.clip(border + step, 0, 255)) for step in (-_FAINT, _FAINT))
    differs = (grey > high) | (grey < low)
    rows = np.flatnonzero(np.count_nonzero(differs, axis=1) > _SHARE * grey.shape[1])
    columns = np.flatnonzero(np.count_nonzero(differs, axis=0) > _SHARE * grey.shape[0])
    if len(rows) < SIDE // 4 or len(columns) < SIDE // 4:
        return grey
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def middles(thumbnails: Thumbnails) -> Thumbnails:
    """Thumbnails without a twentieth at each side: more similar to cropped copies than whole thumbnails are."""
    margin = round(SIDE * _CROPPED)
    return np.stack([thumbnail(one[margin:-margin, margin:-margin]) for one in thumbnails])


def features(thumbnails: npt.NDArray[Any]) -> Vectors:
    """``(images, FEATURES)`` unit vectors of thumbnails ``(images, side, side)``; zeros for flat ones."""
    values = thumbnails.astype(np.float32)
    spectra = dctn(values, axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES] * _WEIGHTS
    vectors = spectra.reshape(len(values), FREQUENCIES**2)[:, 1:].astype(np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    shows = values.reshape(len(values), -1).std(axis=1) > _FLAT
    scaled: Vectors = np.where(shows[:, None], vectors / np.maximum(length, 1e-6), 0).astype(np.float32)
    return scaled
