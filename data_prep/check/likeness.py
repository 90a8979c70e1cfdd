"""A perceptual hash of volumes: near for the same image at another scale, with noise, or resampled; far otherwise.

Five slices, from 20 to 80 % of the stack, are averaged onto 64 x 64 pixels in a fixed orientation and transformed by
a discrete cosine transform; the signs of the 24 x 24 lowest frequencies but the mean are the hash (the method of
Zauner's pHash, 2010, with 45 times the bits, since lumbar spines look much alike). A positive scale and an offset
leave every sign as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

from data_prep.check.volumes import Volume
from monai_spine.geometry import Array

THRESHOLD = 0.12
"""Share of differing bits below which two images count as alike; docs/check.md says what it was measured on."""
_HEIGHTS = (0.2, 0.35, 0.5, 0.65, 0.8)
_PIXELS = 64
_FREQUENCIES = 24
BITS = len(_HEIGHTS) * (_FREQUENCIES**2 - 1)


def perceptual_hash(volume: Volume) -> bytes:
    """2,875 bits of an image; they do not depend on the order in which its axes are stored."""
    voxels = _in_fixed_order(volume)
    chosen = [round(height * (voxels.shape[2] - 1)) for height in _HEIGHTS]
    return np.packbits(np.concatenate([_bits(voxels[:, :, k]) for k in chosen])).tobytes()


def alike(hashes: Sequence[bytes]) -> list[tuple[int, int]]:
    """Pairs of hashes, by their places, that differ in less than `THRESHOLD` of their bits."""
    if not hashes:
        return []
    bits = np.unpackbits(np.stack([np.frombuffer(one, dtype=np.uint8) for one in hashes]), axis=1)
    signs = 2.0 * bits[:, :BITS].astype(np.float32) - 1.0
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(signs), 512):
        agreement = signs[start : start + 512] @ signs[start:].T / signs.shape[1]
        rows, columns = np.nonzero(agreement > 1 - 2 * THRESHOLD)
        pairs += [(start + int(r), start + int(c)) for r, c in zip(rows, columns, strict=True) if r < c]
    return pairs


def _in_fixed_order(volume: Volume) -> npt.NDArray[np.float32]:
    """Voxels with slices last, and all axes running to the patient's right, front and head."""
    axes: Array = volume.affine[:3, :3]
    along = np.abs(axes).argmax(axis=0)
    order = [*sorted((0, 1), key=lambda axis: int(along[axis])), 2]
    falling = tuple(axis for axis, stored in enumerate(order) if axes[along[stored], stored] < 0)
    return np.flip(volume.voxels.transpose(order), falling)


def _bits(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    small = Image.fromarray(np.ascontiguousarray(plane)).resize((_PIXELS, _PIXELS), Image.Resampling.BOX)
    spectrum = dctn(np.asarray(small, dtype=np.float64), norm="ortho")[:_FREQUENCIES, :_FREQUENCIES]
    return spectrum.ravel()[1:] > 0.0
