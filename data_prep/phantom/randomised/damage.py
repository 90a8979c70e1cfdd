"""What scanners and patients do to an image: coils, noise, blur, motion, metal, cut fields of view.

Images are float32 ``(x, y, z)``: slices from left to right, columns from back to front, rows from below upwards.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from data_prep.phantom.canvas import Field, Mask

Shape = tuple[int, int, int]

WINDOW = (1.0, 99.5)
"""Percentiles of the grey values in view that become 0 and 1."""


def smooth_field(shape: Shape, cells: tuple[int, int, int], rng: np.random.Generator) -> Field:
    """Smooth random numbers of about unit deviation, with about as many bumps along each axis as ``cells``."""
    values = rng.standard_normal([n + 1 for n in cells], dtype=np.float32)
    for axis, (size, n) in enumerate(zip(shape, cells, strict=True)):
        values = np.moveaxis(np.tensordot(_linear(size, n), values, (1, axis)), 0, axis)
    return np.ascontiguousarray(values)


def _linear(size: int, cells: int) -> Field:
    """Matrix ``(size, cells + 1)`` of linear interpolation from one end to the other."""
    places = np.linspace(0.0, cells, size)
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(cells + 1))).astype(np.float32)


def bias(shape: Shape, rng: np.random.Generator) -> Field:
    """Sensitivity of a surface coil at the back, waves, and at times a saturation band in front."""
    y = np.linspace(0.0, 1.0, shape[1], dtype=np.float32)[:, None]
    coil = np.exp(-y * np.float32(rng.uniform(0.0, 2.2)))
    if rng.random() < 0.5:
        coil = coil * (0.1 + 0.9 / (1.0 + np.exp((y - np.float32(rng.uniform(0.55, 0.9))) / np.float32(0.03))))
    cells = (2, int(rng.integers(2, 5)), int(rng.integers(2, 5)))
    waves = np.exp(np.float32(rng.uniform(0.0, 0.35)) * smooth_field(shape, cells, rng))
    return (waves * coil).astype(np.float32)


def texture(shape: Shape, rng: np.random.Generator) -> Field:
    """Grain of a few voxels, which tissue has and noise has not."""
    cells = (shape[0], shape[1] // int(rng.integers(2, 7)), shape[2] // int(rng.integers(2, 7)))
    return 1.0 + np.float32(rng.uniform(0.0, 0.12)) * smooth_field(shape, cells, rng)


def blurred(image: Field, rng: np.random.Generator) -> Field:
    """In-plane blur, at times as strong as 3 mm pixels make it."""
    width = rng.uniform(0.15, 0.7) if rng.random() < 0.8 else rng.uniform(0.7, 1.3)
    return np.asarray(gaussian_filter(image, (0.0, width, width * rng.uniform(0.7, 1.3)), truncate=3.0))


def moved(image: Field, rng: np.random.Generator) -> Field:
    """Ghosts along one direction, and slices that slipped."""
    return slipped(ghosted(image, rng), rng)


def ghosted(image: Field, rng: np.random.Generator) -> Field:
    """At times, faint copies of the image on both sides of it along one direction."""
    if rng.random() >= 0.25:
        return image
    axis, shift = int(rng.integers(1, 3)), int(rng.integers(8, 60))
    faint = np.float32(rng.uniform(0.02, 0.15))
    return image + faint * (np.roll(image, shift, axis) + np.roll(image, -shift, axis))


def slipped(image: Field, rng: np.random.Generator) -> Field:
    """At times, slices that slipped by up to two voxels."""
    if rng.random() >= 0.15:
        return image
    slips = rng.integers(-2, 3, (len(image), 2))
    return np.stack([np.roll(s, slip, (0, 1)) for s, slip in zip(image, slips.tolist(), strict=True)])


def noisy(image: Field, rng: np.random.Generator) -> Field:
    """Rician noise, from hardly any to a twelfth of the brightest tissue."""
    deviation = np.float32(np.exp(rng.uniform(np.log(0.004), np.log(0.08))))
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32)
    noise *= deviation
    return np.hypot(image + noise[0], noise[1])


def without_metal(image: Field, rng: np.random.Generator) -> Field:
    """The signal gone around a few implants, and piled up beside them."""
    if rng.random() > 0.06:
        return image
    x, y, z = np.ogrid[[slice(n) for n in image.shape]]
    for _ in range(int(rng.integers(1, 5))):
        cx, cy, cz = (rng.uniform(0.2, 0.8, 3) * image.shape).tolist()
        radius = rng.uniform(3.0, 10.0)
        distance = np.sqrt((3.0 * (x - cx)) ** 2 + (y - cy) ** 2 + (1.4 * (z - cz)) ** 2).astype(np.float32)
        image = np.where(distance < radius, np.float32(0.0), image)
        image = np.where((distance >= radius) & (distance < radius + 1.5), np.float32(1.2), image)
    return image


def seen(shape: Shape, rng: np.random.Generator) -> Mask:
    """The voxels inside the field of view: at times a part of the grid only, or some slices of it."""
    mask = np.ones(shape, dtype=bool)
    if rng.random() < 0.45:
        for axis, least in enumerate((0.55, 0.4, 0.4)):
            lost = int(shape[axis] * (1.0 - rng.uniform(least, 1.0)))
            low = int(rng.integers(0, lost + 1))
            index = [slice(None)] * 3
            index[axis] = slice(0, low)
            mask[tuple(index)] = False
            index[axis] = slice(shape[axis] - (lost - low), None)
            mask[tuple(index)] = False
    return mask


def exposed(image: Field, mask: Mask, rng: np.random.Generator) -> Field:
    """Grey values from 0 to 1 (see `WINDOW`) on another curve, at times the negative; 0 outside of the mask."""
    values = image[:, ::3, ::3][mask[:, ::3, ::3]]
    low, high = np.percentile(values, WINDOW).tolist() if values.size else (0.0, 1.0)
    scaled: Field = np.clip((image - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0.0, 1.0)
    curved = scaled ** np.float32(np.exp(rng.normal(0.0, 0.25)))
    return (np.float32(1.0) - curved if rng.random() < 0.07 else curved) * mask
