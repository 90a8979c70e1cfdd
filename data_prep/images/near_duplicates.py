"""Near duplicates: the same picture compressed again, rescaled, brightened, with another border, or a little cropped.

Two pictures are near duplicates if the cosine between the features of their thumbnails reaches `THRESHOLD`: the
features of the whole pictures, of the pictures without an even border, or after one was shifted and stretched onto the
other. Alignment is tried only with the few pictures most similar to each.

The features are the 16 x 16 lowest frequencies of a thumbnail's discrete cosine transform, without the mean. Each is
weighted by its frequency, since natural images then have about equal energy in each. Cosines between these vectors do
not change with a gain or an offset. (Zauner's pHash of 2010 uses the signs of such coefficients. In a symmetric image,
half of them are near zero, and their signs are noise.)

Alignment finds the shift, the stretch along each axis, a gain and an offset by Gauss-Newton steps on the squared
difference of the middles (Lucas and Kanade, 1981), first with smooth thumbnails, then with sharper ones.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

SIDE = 48
"""Of a thumbnail, pixels."""
FREQUENCIES = 16
FEATURES = FREQUENCIES**2 - 1

Thumbnails = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float32]

_FAINT = 16
"""Grey levels of 255 by which the content differs from the border around it."""
_SHARE = 0.01
"""Share of a row or column that must differ from the border for it to belong to the content."""
_CROPPED = 0.05
_FLAT = 1.0
"""Standard deviation in grey levels below which an image shows nothing that could be compared."""
_WEIGHTS = np.hypot(*np.mgrid[:FREQUENCIES, :FREQUENCIES])

THRESHOLD = 0.985
"""Of 44,850 pairs of different phantom slices 3 reach it, all neighbours in axial stacks of one patient. Of changed
copies 89 to 100 % reach it (`benchmarks/image_copies.py`; docs: page of images)."""
_WORTH_ALIGNING = 0.6
_ALIGNED = 4
"""How many of the pictures most similar to one are aligned with it."""
_PARTNERS = 32
"""The most pairs a picture is given: enough to connect copies, however many there are."""
_BLOCK = 1 << 21
"""Cosines in memory at once."""

_MIDDLE = (0.1, 0.9)
"""Part of the first thumbnail that is searched for in the second; a crop of a tenth at each side keeps it."""
_COARSE, _FINE = 16, 36
"""Points along a side, for finding and for comparing."""
_STEPS = ((2.25, 4), (0.75, 3))
"""Smoothing in pixels, and steps."""
_LARGEST_STEP, _LARGEST_SHIFT, _STRETCH = 0.06, 0.15, (0.75, 1.33)
"""Parts of a side; and by how much."""
_CHUNK = 256


def views(grey: npt.NDArray[Any]) -> tuple[Thumbnails, Thumbnails]:
    """Thumbnails of an image ``(rows, columns)`` of 0 to 255, with and without its even border."""
    grey = grey if grey.dtype == np.uint8 else np.rint(grey).clip(0, 255).astype(np.uint8)
    return thumbnail(grey), thumbnail(without_border(grey))


def thumbnail(grey: Thumbnails) -> Thumbnails:
    """``(SIDE, SIDE)`` of an image ``(rows, columns)``: averages over its parts, whatever its aspect."""
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX))


def without_border(grey: Thumbnails) -> Thumbnails:
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


class Pair(NamedTuple):
    """Two images, by their places, and how similar they are: 1 for the same picture."""

    first: int
    second: int
    similarity: float


def near_duplicates(whole: Thumbnails, trimmed: Thumbnails) -> list[Pair]:
    """Pairs of pictures that are near duplicates, each once, ``first < second``.

    Thumbnails ``(images, side, side)`` are those of the pictures with and without their even borders.
    """
    sure: dict[tuple[int, int], float] = {}
    candidates: set[tuple[int, int]] = set()
    for start, cosines, hopeful in _blocks(features(whole), features(trimmed), features(middles(whole))):
        for n, (row, other_row) in enumerate(zip(cosines, hopeful, strict=True), start=start):
            likely = _largest(row, _PARTNERS)
            sure |= {_pair(n, other): float(row[other]) for other in likely if row[other] >= THRESHOLD}
            rest = [m for m in _largest(other_row, _PARTNERS) if row[m] < THRESHOLD and other_row[m] > _WORTH_ALIGNING]
            candidates |= {_pair(n, other) for other in rest[:_ALIGNED]}
    sure |= _near_after_alignment(whole, sorted(candidates))
    return [Pair(*pair, round(similarity, 4)) for pair, similarity in sorted(sure.items())]


def _blocks(whole: Vectors, trimmed: Vectors, middle: Vectors) -> Iterator[tuple[int, Vectors, Vectors]]:
    """Some rows at a time: cosines that find copies, and cosines that find candidates for cropped copies.

    No picture is compared with itself.
    """
    count = len(whole)
    rows = max(1, _BLOCK // max(count, 1))
    for start in range(0, count, rows):
        part = slice(start, start + rows)
        cosines = np.maximum(whole[part] @ whole.T, trimmed[part] @ trimmed.T)
        hopeful = np.maximum(cosines, np.maximum(whole[part] @ middle.T, middle[part] @ whole.T))
        own = np.arange(len(cosines))
        cosines[own, start + own] = hopeful[own, start + own] = -1
        yield start, cosines, hopeful


def _largest(row: Vectors, count: int) -> npt.NDArray[np.intp]:
    """Places of the largest values, the largest first."""
    if len(row) > count:
        places = np.argpartition(row, -count)[-count:]
        return places[np.argsort(-row[places], kind="stable")]
    return np.argsort(-row, kind="stable")


def _pair(a: int, b: int) -> tuple[int, int]:
    return (int(a), int(b)) if a < b else (int(b), int(a))


def _near_after_alignment(whole: Thumbnails, pairs: list[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """Pairs that are near duplicates after alignment."""
    first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    cosines = aligned_cosines(whole, first, second)
    return {pair: float(value) for pair, value in zip(pairs, cosines, strict=True) if value >= THRESHOLD}


def aligned_cosines(thumbnails: Thumbnails, first: Places, second: Places) -> Vectors:
    """Cosine of the features of pairs after alignment; places are those among thumbnails ``(images, side, side)``."""
    chunks = [
        _cosines(thumbnails, first[start : start + _CHUNK], second[start : start + _CHUNK])
        for start in range(0, len(first), _CHUNK)
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.float32)


def _cosines(thumbnails: Thumbnails, first: Places, second: Places) -> Vectors:
    used, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    images = thumbnails[used].astype(np.float32)
    a, b = places[: len(first)], places[len(first) :]
    shift = _aligned(images, a, b)
    x, y = _grid(_FINE)
    shape = (len(a), _FINE, _FINE)
    here = features(_sampled([images], a, x[None], y[None])[0].reshape(shape))
    there = features(_sampled([images], b, *_moved(shift, x, y))[0].reshape(shape))
    cosines: Vectors = (here * there).sum(axis=1)
    return cosines


def _aligned(images: Floats, a: Places, b: Places) -> Floats:
    """Stretch and shift along x, then along y, ``(pairs, 4)``, that lead from the first onto the second image."""
    x, y = _grid(_COARSE)
    warp = np.tile(np.array([1, 0, 1, 0], dtype=np.float32), (len(a), 1))
    for smoothing, steps in _STEPS:
        smooth = gaussian_filter(images, (0, smoothing, smoothing))
        layers = [smooth, *(slope * images.shape[1] for slope in np.gradient(smooth, axis=(2, 1)))]
        target = _centred(_sampled([smooth], a, x[None], y[None])[0])
        for _ in range(steps):
            place = _moved(warp, x, y)
            values, along_x, along_y = _sampled(layers, b, *place)
            values = _centred(values)
            gain = (values * target).sum(axis=1) / np.maximum((values**2).sum(axis=1), 1e-6)
            gain = np.clip(gain, 0.3, 3)[:, None]
            change = [gain * along_x * (x - 0.5), gain * along_x, gain * along_y * (y - 0.5), gain * along_y, values]
            step = _least_squares(np.stack([_centred(one) for one in change], axis=1), target - gain * values)
            warp += np.clip(step[:, :4], -_LARGEST_STEP, _LARGEST_STEP)
            warp[:, 0::2] = np.clip(warp[:, 0::2], *_STRETCH)
            warp[:, 1::2] = np.clip(warp[:, 1::2], -_LARGEST_SHIFT, _LARGEST_SHIFT)
    return warp


def _least_squares(jacobian: Floats, residual: Floats) -> Floats:
    """Steps ``(pairs, unknowns)`` that reduce the residuals ``(pairs, points)``, slightly damped."""
    normal = jacobian @ jacobian.transpose(0, 2, 1)
    unknowns = normal.shape[1]
    damping = 1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / unknowns + 1e-3
    slope = jacobian @ residual[:, :, None]
    steps: Floats = np.linalg.solve(normal + damping * np.eye(unknowns, dtype=np.float32), slope)[:, :, 0]
    return steps


def _centred(values: Floats) -> Floats:
    return values - values.mean(axis=1, keepdims=True)


def _grid(points: int) -> tuple[Floats, Floats]:
    """Coordinates, in parts of the side, of points in the middle of a thumbnail."""
    along = np.linspace(*_MIDDLE, points, dtype=np.float32)
    x, y = np.meshgrid(along, along)
    return x.ravel(), y.ravel()


def _moved(warp: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    a, b, c, d = warp.T[:, :, None]
    return 0.5 + a * (x - 0.5) + b, 0.5 + c * (y - 0.5) + d


def _sampled(layers: Sequence[Floats], which: Places, x: Floats, y: Floats) -> list[Floats]:
    """Values of images, of each layer, at points ``(pairs, points)`` by linear interpolation; beyond the edge, its."""
    side = layers[0].shape[1]
    last = np.float32(side - 1.001)
    across, down = np.clip(x * side - 0.5, 0, last), np.clip(y * side - 0.5, 0, last)
    column, row = across.astype(np.int32), down.astype(np.int32)
    right, below = across - column, down - row
    place = which[:, None] * (side * side) + row * side + column
    corners = [
        ((1 - below) * (1 - right), place),
        ((1 - below) * right, place + 1),
        (below * (1 - right), place + side),
        (below * right, place + side + 1),
    ]
    return [sum(share * layer.reshape(-1).take(corner) for share, corner in corners) for layer in layers]
