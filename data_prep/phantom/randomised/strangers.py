"""Images without a lumbar spine, so that a network learns to say so."""

from __future__ import annotations

import numpy as np

from data_prep.phantom.canvas import Field
from data_prep.phantom.randomised.contrast import FOREIGN
from data_prep.phantom.randomised.damage import Shape, smooth_field
from data_prep.phantom.randomised.regions import Labels

KINDS = 24
"""Numbers of structures that an image may hold, from `contrast.FOREIGN` on."""


def shapes(shape: Shape, rng: np.random.Generator) -> Labels:
    """A label map of smooth blobs: where one of several random fields is the largest."""
    best: Field = np.full(shape, -np.inf, dtype=np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    for number in range(int(rng.integers(3, 7))):
        cells = (int(rng.integers(1, 4)), int(rng.integers(2, 14)), int(rng.integers(2, 14)))
        field = smooth_field(shape, cells, rng)
        larger = field > best
        best[larger] = field[larger]
        labels[larger] = FOREIGN + number
    return labels


def body_part(shape: Shape, rng: np.random.Generator) -> Labels:
    """A head, a knee, a pelvis of a sort: nested and scattered ellipsoids in air, with bones that have a shell."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij"))
    warp = 0.12 * np.stack([smooth_field(shape, (2, 4, 4), rng) for _ in range(3)])
    place = grid + warp.astype(np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    middle, size = rng.uniform(-0.3, 0.3, 3), rng.uniform(0.45, 1.1, 3)
    for shell, number in ((1.0, 0), (0.93, 1), (0.85, 2), (0.8, 3)):
        labels[_inside(place, middle, size * shell)] = FOREIGN + number
    if rng.random() < 0.5:  # folds of a brain, lobules of an organ
        folds = np.sin(rng.uniform(6, 22) * smooth_field(shape, (2, 6, 6), rng)) > 0
        labels[(labels == FOREIGN + 3) & folds] = FOREIGN + 4
    for number in range(int(rng.integers(2, 12))):
        at, radius = middle + size * rng.uniform(-0.7, 0.7, 3), rng.uniform(0.05, 0.4, 3)
        labels[_inside(place, at, radius)] = FOREIGN + 6 + number % 8
        labels[_inside(place, at, radius * rng.uniform(0.6, 0.95))] = FOREIGN + 14 + number % 8
    return labels


def _inside(place: Field, middle: np.ndarray, radius: np.ndarray) -> np.ndarray:
    offset = (place - middle[:, None, None, None].astype(np.float32)) / radius[:, None, None, None].astype(np.float32)
    return (offset * offset).sum(axis=0) < 1.0
