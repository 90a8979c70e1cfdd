"""How similar two thumbnails are once one is shifted and stretched onto the other: copies may be cropped.

The shift, the stretch along each axis, a gain and an offset are found by Gauss-Newton steps on the squared difference
of their middles (Lucas and Kanade, 1981), first with smooth thumbnails, then with sharper ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from data_prep.images.thumbnail import Thumbnails, Vectors, features

Places = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float32]

_MIDDLE = (0.1, 0.9)
"""Part of the first thumbnail that is searched for in the second; a crop of a tenth at each side keeps it."""
_COARSE, _FINE = 16, 36
"""Points along a side, for finding and for comparing."""
_STEPS = ((2.25, 4), (0.75, 3))
"""Smoothing in pixels, and steps."""
_LARGEST_STEP, _LARGEST_SHIFT, _STRETCH = 0.06, 0.15, (0.75, 1.33)
"""Parts of a side; and by how much."""
_CHUNK = 256


def aligned_cosines(thumbnails: Thumbnails, first: Places, second: Places) -> Vectors:
    """Cosine of the features of pairs after alignment.

    Parameters
    ----------
    thumbnails
        ``(images, side, side)``.
    first, second
        Places of the pairs' images among them.
    """
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
