"""What is kept of a volume once its voxels are gone: sizes, spacings, intensities, and hashes of the image.

The perceptual hash hardly changes if an image is rescaled, resampled or noisy. Five slices, from 20 to 80 % of the
stack, are averaged onto 64 x 64 pixels in a fixed orientation and transformed by a discrete cosine transform; the signs
of the 24 x 24 lowest frequencies but the mean are the hash (the method of Zauner's pHash, 2010, with 45 times the bits,
since lumbar spines look much alike). A positive scale and an offset leave every sign as it is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

from monai_spine import geometry
from monai_spine.data.volume import Volume
from monai_spine.geometry import Array, Plane
from monai_spine.spine import SeriesType

PERCENTILES = (1, 25, 50, 75, 99)
THRESHOLD = 0.12
"""Share of differing bits below which two images are near duplicates.

On 120 phantom studies, copies (scaled, 8 bits, gamma, noise, half the pixels) differ in 9.0 % of their bits at most,
images of two patients in 15.9 % at least (`benchmarks/check_duplicates.py`; docs: page of the check)."""
_HEIGHTS = (0.2, 0.35, 0.5, 0.65, 0.8)
_PIXELS = 64
_FREQUENCIES = 24
BITS = len(_HEIGHTS) * (_FREQUENCIES**2 - 1)


@dataclass(frozen=True)
class Feature:
    """Something measured of every volume."""

    title: str
    unit: str = ""
    """Empty for plain numbers."""
    logarithmic: bool = True
    """Whether values are compared by their ratio rather than their difference."""
    floor: float | None = None
    """The least spread that is assumed when values are judged, in the logarithm if ``logarithmic``; None if values
    of this feature are not judged."""


FEATURES = {
    "columns": Feature("columns"),
    "rows": Feature("rows"),
    "slices": Feature("slices"),
    "pixel_width_mm": Feature("pixel width", "mm", floor=0.05),
    "pixel_height_mm": Feature("pixel height", "mm", floor=0.05),
    "slice_spacing_mm": Feature("distance of slices", "mm", floor=0.05),
    "field_width_mm": Feature("field of view, width", "mm", floor=0.05),
    "field_height_mm": Feature("field of view, height", "mm", floor=0.05),
    "stack_depth_mm": Feature("depth of the stack", "mm", floor=0.1),
    "obliquity_deg": Feature("tilt against the body's axes", "°", logarithmic=False, floor=3.0),
    "intensity_p1": Feature("1st percentile of intensity", logarithmic=False),
    "intensity_p25": Feature("25th percentile of intensity", logarithmic=False),
    "intensity_p50": Feature("median intensity", logarithmic=False),
    "intensity_p75": Feature("75th percentile of intensity", logarithmic=False),
    "intensity_p99": Feature("99th percentile of intensity", floor=0.5),
    "midtone": Feature("median on the scale of 1st to 99th percentile", logarithmic=False, floor=0.04),
}
"""By the names in ``fingerprint.json``. Floors are what volumes of one protocol may differ by and be no outliers."""


@dataclass(frozen=True)
class VolumeFacts:
    """What is known of a volume."""

    number: int
    """Of its study."""
    series_type: SeriesType
    path: str
    plane: Plane
    features: dict[str, float]
    """By the names of `FEATURES`."""
    box: Array
    """Lowest and highest corner in RAS mm, ``(2, 3)``."""
    digest: str
    """Of shape and voxel values; the same for the same image."""
    perceptual_hash: bytes
    """Of `data_prep.check.volume_facts`; empty for a constant image."""


def facts_of(volume: Volume, number: int, series_type: SeriesType, path: str) -> VolumeFacts:
    """Measure a volume."""
    constant = float(np.ptp(volume.voxels)) == 0.0
    corners = np.concatenate([geometry.slice_corners(volume.affine, volume.shape, k) for k in (0, volume.shape[2] - 1)])
    return VolumeFacts(
        number=number,
        series_type=series_type,
        path=path,
        plane=geometry.plane_of(volume.affine),
        features={**_sizes(volume), **_intensities(volume)},
        box=np.stack([corners.min(axis=0), corners.max(axis=0)]),
        digest=_digest(volume),
        perceptual_hash=b"" if constant else perceptual_hash(volume),
    )


def _sizes(volume: Volume) -> dict[str, float]:
    columns, rows, slices = volume.shape
    width, height, step = map(float, geometry.spacing(volume.affine))
    return {
        "columns": columns,
        "rows": rows,
        "slices": slices,
        "pixel_width_mm": width,
        "pixel_height_mm": height,
        "slice_spacing_mm": step,
        "field_width_mm": columns * width,
        "field_height_mm": rows * height,
        "stack_depth_mm": slices * step,
        "obliquity_deg": geometry.obliquity(volume.affine),
    }


def _intensities(volume: Volume) -> dict[str, float]:
    levels = [float(value) for value in np.percentile(volume.voxels, PERCENTILES)]
    low, _, middle, _, high = levels
    return {
        **{f"intensity_p{percent}": level for percent, level in zip(PERCENTILES, levels, strict=True)},
        "midtone": (middle - low) / (high - low) if high > low else 0.0,
    }


def _digest(volume: Volume) -> str:
    whole = hashlib.blake2b(str(volume.shape).encode(), digest_size=16)
    whole.update(np.ascontiguousarray(volume.voxels.T).data)
    return whole.hexdigest()


def perceptual_hash(volume: Volume) -> bytes:
    """2,875 bits of an image; they do not depend on the order in which its axes are stored."""
    voxels = _in_fixed_order(volume)
    chosen = [round(height * (voxels.shape[2] - 1)) for height in _HEIGHTS]
    return np.packbits(np.concatenate([_bits(voxels[:, :, k]) for k in chosen])).tobytes()


def near_duplicates(hashes: Sequence[bytes]) -> list[tuple[int, int]]:
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
