"""Acquiring a scan: from the anatomy to the grey values of its slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from data_prep.phantom.curve import STEP, Bounds, Field, Lattice, SpineCurve, interpolation
from data_prep.phantom.painting import bones, canal, soft_tissue
from data_prep.phantom.painting.canvas import Canvas, frames_in_voxels
from data_prep.phantom.person import Anatomy
from data_prep.phantom.plan import Ghost, Scan
from data_prep.phantom.signal import grain_factors, grain_table, relaxations, signal_table
from monai_spine.geometry import Array, to_world

BRIGHTEST = 1100.0
"""Grey value of the brightest tissue before bias and gain."""
OFFSETS = np.array([(-0.33, 0.0, -0.33), (0.0, -0.33, 0.0), (0.33, 0.33, 0.33)])
"""Where the samples of a voxel lie: along its column and row in pixels, along its slice in thicknesses."""
CENTRE = np.zeros((1, 3))
NEAR = ((-56.0, 56.0), (-78.0, 24.0))
"""What is painted at several samples per voxel lies between these, right and anterior of the curve, in mm."""
WARP = 1.1
"""How far the outlines of soft tissue are displaced, in mm."""
FILTERS = (-0.6, -0.3, 0.0, 0.0, 0.7)
"""How much the filters of scanners strengthen the outer lines of k-space; below 0 they smooth."""
NOISE_SHIFT = 77_777
"""How far apart in one list of random numbers the noise of the two channels begins."""
Tissues = npt.NDArray[np.uint8]
Window = tuple[slice, slice, slice]
BATCH = 3_000_000
"""Samples painted at once: this limits memory, and keeps arrays in the processor's cache."""


def acquire(anatomy: Anatomy, scan: Scan, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Grey values ``(slices, rows, columns)`` of a scan."""
    ratio = scan.size[0] / scan.acquired
    affine = scan.affine @ np.diag([ratio, ratio, 1.0, 1.0])
    affine[:3, 3] -= scan.motion  # the anatomy stays where it was drawn, so the grid moves the other way
    size = (scan.acquired, scan.acquired, scan.size[2])
    image = _render(anatomy, scan, affine, size)
    bias = _bias(anatomy, affine, size, rng)
    if scan.ghost is not None:
        image = ghosted(image, scan.ghost)
    noise = _noise(image.shape, float(np.exp(-rng.uniform(np.log(32.0), np.log(110.0)))), rng)
    spread = zero_filling(scan.acquired, scan.size[0], scan.kept, float(rng.choice(FILTERS)))
    gain = np.float32(BRIGHTEST * rng.uniform(0.6, 1.6))
    shown = np.empty((scan.size[2], scan.size[1], scan.size[0]), dtype=np.uint16)
    for k, (real, imaginary) in enumerate(noise):  # one slice at a time stays in the processor's cache
        signal = image[k] * bias(k) + real
        pixels = spread @ np.sqrt(signal * signal + imaginary * imaginary) @ spread.T
        pixels *= gain
        shown[k] = np.clip(pixels, 0, 4095, out=pixels)
    return shown


def _noise(shape: tuple[int, ...], deviation: float, rng: np.random.Generator) -> Iterator[tuple[Field, Field]]:
    """Noise of the real and of the imaginary channel, a pair of ``(rows, columns)`` for every slice."""
    # The imaginary channel takes the numbers of the real one from another place, so that only half of them are drawn.
    count = int(np.prod(shape))
    noise = rng.standard_normal(count + NOISE_SHIFT, dtype=np.float32)
    noise *= np.float32(deviation)
    real, imaginary = noise[NOISE_SHIFT:].reshape(shape), noise[:-NOISE_SHIFT].reshape(shape)
    return zip(real, imaginary, strict=True)


def label_map(anatomy: Anatomy, affine: Array, size: tuple[int, int, int]) -> Tissues:
    """The tissue at the middle of every voxel of a grid, shape ``(slices, rows, columns)``."""
    canvas, _, _ = _painted(anatomy, affine, size, CENTRE)
    return canvas.whole.tissue


def _painted(
    anatomy: Anatomy, affine: Array, size: tuple[int, int, int], offsets: Array
) -> tuple[Canvas, Canvas | None, Window]:
    """Some slices, painted coarsely, and finely near the spine.

    Returns
    -------
    Everything at one sample per voxel; the neighbourhood of the spine at the samples ``offsets`` (None if the slices do
    not show it); and the window that it takes in the whole.
    """
    lattice = Lattice.over(anatomy.curve, affine, size)
    # Soft tissue does not slip with a vertebra. Warped coordinates keep its outlines from being perfect ellipses.
    unslipped = frames_in_voxels(anatomy.curve.unslipped(), affine)
    canvas = Canvas.on(lattice.warped(anatomy.seed, WARP), unslipped, CENTRE)
    soft_tissue.paint(canvas, anatomy)
    frames = frames_in_voxels(anatomy.curve, affine)
    columns, rows = _near(anatomy, frames, size, canvas.heights)
    window = (slice(None), slice(*rows), slice(*columns))
    if columns[0] >= columns[1] or rows[0] >= rows[1]:
        return canvas, None, window
    near = Canvas.on(lattice, frames, offsets, columns, rows)
    near.whole.tissue[:] = np.repeat(canvas.whole.tissue[window], len(offsets), axis=0)
    bones.paint(near, anatomy)
    canal.paint(near, anatomy)
    canvas.whole.tissue[window] = near.one_sample().tissue
    return canvas, near, window


def _near(
    anatomy: Anatomy, frames: Array, size: tuple[int, int, int], heights: tuple[float, float]
) -> tuple[Bounds, Bounds]:
    """Columns and rows that may show the spine; ``frames`` are those of its curve in voxels."""
    shown = SpineCurve.heights()
    bodies = anatomy.vertebrae
    low, high = max(heights[0] - 2 * STEP, bodies[-1].s - 30.0), min(heights[1] + 2 * STEP, bodies[0].s + 30.0)
    frames = frames[(shown >= low) & (shown <= high)]
    if not len(frames):
        return (0, 0), (0, 0)
    middle, right, forward = frames.transpose(1, 0, 2)
    corners = np.stack([middle + r * right + a * forward for r in NEAR[0] for a in NEAR[1]])[..., :2]
    first, last = corners.min(axis=(0, 1)) - 2.0, corners.max(axis=(0, 1)) + 3.0
    (i0, j0), (i1, j1) = np.clip(first, 0, size[:2]).astype(int), np.clip(last, 0, size[:2]).astype(int)
    return (int(i0), int(i1)), (int(j0), int(j1))


def _render(anatomy: Anatomy, scan: Scan, affine: Array, size: tuple[int, int, int]) -> Field:
    """Mean signal over the samples of every voxel, with its grain, ``(slices, rows, columns)``; at most about 1."""
    signal = signal_table(relaxations(anatomy), scan.sequence, scan.field)
    signal /= signal.max()
    grain = grain_table(anatomy, signal)
    offsets = OFFSETS * [1.0, 1.0, scan.thickness / np.linalg.norm(affine[:3, 2])]
    at_once = max(1, BATCH // (size[0] * size[1] * len(offsets)))
    image = np.empty(size[::-1], dtype=np.float32)
    for start in range(0, size[2], at_once):
        count = min(at_once, size[2] - start)
        moved = np.array(affine)
        moved[:3, 3] += start * affine[:3, 2]
        part = image[start : start + count]
        canvas, near, window = _painted(anatomy, moved, (size[0], size[1], count), offsets)
        for k, slab in enumerate(canvas.slabs(1)):
            np.take(signal, slab.whole.tissue[0], out=part[k], mode="clip")  # twice as fast as with a check
            if near is not None:
                samples = near.whole.tissue[k * len(offsets) : (k + 1) * len(offsets)]
                part[k][window[1:]] = np.take(signal, samples, mode="clip").mean(axis=0)
            part[k] *= grain_factors(slab.whole, anatomy, grain)[0]
    return image


def _bias(
    anatomy: Anatomy, affine: Array, size: tuple[int, int, int], rng: np.random.Generator
) -> Callable[[int], Field]:
    """Sensitivity of the coil under the back, times the saturation band in front of a sagittal series.

    Returns
    -------
    A function from the number of a slice to factors ``(rows, columns)``.
    """
    i, j = np.linspace(0, size[0] - 1, 17), np.linspace(0, size[1] - 1, 17)
    kk, jj, ii = np.meshgrid(np.arange(size[2]), j, i, indexing="ij")
    x, y, z = np.moveaxis(to_world(affine, np.stack([ii, jj, kk], axis=-1)) - anatomy.curve.origin, -1, 0)
    near = 1.25 * np.exp(-np.maximum(y + rng.uniform(30.0, 75.0), 0) / np.exp(rng.uniform(*np.log([70.0, 700.0]))))
    waves = 1.0 + 0.06 * np.sin(x / 55.0 + rng.uniform(0, 6)) + 0.06 * np.sin(z / 70.0 + rng.uniform(0, 6))
    band = 1.0 / (1.0 + np.exp((y - rng.uniform(35.0, 65.0)) / rng.uniform(5.0, 12.0)))
    left = rng.uniform(0.03, 0.4) if rng.random() < 0.6 else 1.0
    sagittal = abs(affine[0, 2]) > abs(affine[2, 2])
    coarse = (near * waves * (left + (1.0 - left) * band if sagittal else 1.0)).astype(np.float32)
    across, down = interpolation(i, 0, size[0], 0.0).T, interpolation(j, 0, size[1], 0.0)
    return lambda k: down @ (coarse[k] @ across)


@cache
def zero_filling(acquired: int, shown: int, kept: float, sharpened: float = 0.0) -> Field:
    """Zero filling in k-space with a mild window, as a ``(shown, acquired)`` matrix.

    Pixel 0 stays where it is. The cut at the edge of k-space leaves the faint ringing that real images have. If only a
    share of the lines is ``kept``, there is no window, and the ringing is strong. A line at the edge is ``sharpened``
    by this share, and those further in by less.
    """
    order = np.arange(-(acquired // 2), (acquired + 1) // 2)
    distance = np.abs(order) / (acquired / 2)
    taper = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance - 0.55, 0, None) / 0.45)
    if kept < 1.0:
        taper = (distance <= kept).astype(np.float64)
    taper = taper * (1.0 + sharpened * distance**2)
    to_lines = np.exp(-2j * np.pi * np.outer(order, np.arange(acquired)) / acquired)
    to_pixels = np.exp(2j * np.pi * np.outer(np.arange(shown), order) / shown)
    return ((to_pixels * taper) @ to_lines / acquired).real.astype(np.float32)


def ghosted(image: Field, ghost: Ghost) -> Field:
    """Images ``(slices, rows, columns)`` of a breathing patient; the phase is encoded along the rows.

    A displacement by ``d`` pixels turns the line of spatial frequency ``f`` (cycles per pixel) by ``2 pi f d``.
    """
    rows = image.shape[1]
    frequency = np.fft.fftfreq(rows)
    time = np.argsort(np.argsort(frequency)) / rows  # when, from 0 to 1, a line is acquired
    moved = ghost.amplitude * np.sin(2 * np.pi * ghost.breaths * time + ghost.phase)
    turn = np.exp(-2j * np.pi * frequency * moved)
    return np.abs(np.fft.ifft(np.fft.fft(image, axis=1) * turn[:, None], axis=1)).astype(np.float32)
