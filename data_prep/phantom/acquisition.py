"""Acquiring a series: where its slices lie, and what they show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from data_prep.phantom import bones, canal, soft_tissue
from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.canvas import Canvas, Field
from data_prep.phantom.signal import T1, T2, Sequence, stir, table
from data_prep.phantom.size import Size
from monai_spine.geometry import Array, to_world
from monai_spine.spine import Level, SeriesType

FAT_GREY = 1100.0
"""Grey value of the brightest tissue before bias and gain."""
PASSES = np.array([(-0.33, 0.0, -0.33), (0.0, -0.33, 0.0), (0.33, 0.33, 0.33)])
"""Where in its pixel (column, row) and in the thickness of the slice each sample lies, in pixels and thicknesses."""
CENTRES = np.zeros((1, 3))
NOISE_SHIFT = 77_777
BATCH = 3_000_000
"""Samples painted at once: bounds memory, and keeps arrays near the processor."""


@dataclass(frozen=True)
class Matrix:
    """Samples acquired and pixels reconstructed along a side of a square image."""

    acquired: int
    shown: int


MATRICES = {
    (Size.SMALL, False): Matrix(192, 192),
    (Size.SMALL, True): Matrix(192, 256),
    (Size.FULL, False): Matrix(320, 384),
    (Size.FULL, True): Matrix(320, 512),
}
"""By size, and whether the series is axial."""


@dataclass(frozen=True)
class Scan:
    """A series to acquire.

    Attributes
    ----------
    affine
        From ``(column, row, slice)`` of the images as shown to RAS mm.
    size
        Columns, rows, slices as shown.
    thickness
        Slice thickness in mm.
    motion
        How far the patient has moved since the study began, RAS mm.
    """

    kind: SeriesType
    sequence: Sequence
    field: float
    affine: Array
    size: tuple[int, int, int]
    acquired: int
    thickness: float
    motion: Array


def plan_sagittal(anatomy: Anatomy, kind: SeriesType, size: Size, field: float, rng: np.random.Generator) -> Scan:
    """13 to 17 slices of 4 mm across the spine, L3 in the middle."""
    matrix = MATRICES[size, False]
    view = rng.uniform(270.0, 295.0)
    count, step = int(rng.integers(15, 18)), float(rng.choice([4.2, 4.4, 4.6]))
    middle = anatomy.curve.to_world(np.array([rng.normal(0, 1.0), rng.uniform(-8, 4), -10.0]))
    turn = _turn(rng.normal(0, np.radians(1.5)), rng.normal(0, np.radians(1.5)))
    axes = turn @ np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    affine = _centred(axes, [view / matrix.shown] * 2 + [step], (matrix.shown, matrix.shown, count), middle)
    sequence = T1 if kind is SeriesType.SAGITTAL_T1 else T2
    if kind is SeriesType.SAGITTAL_T2 and rng.random() < 0.12:
        sequence = stir(field)
    motion = rng.normal(0.0, 0.4, 3)
    return Scan(kind, sequence, field, affine, (matrix.shown, matrix.shown, count), matrix.acquired, 4.0, motion)


def plan_axial(
    anatomy: Anatomy, levels: tuple[Level, Level], size: Size, field: float, rng: np.random.Generator
) -> Scan:
    """A straight block from above one disc to below another, at right angles to the spine between L3 and L5.

    A block of a single disc lies in that disc's plane.
    """
    top, bottom = (anatomy.level_disc(level).s for level in levels)
    along = anatomy.curve.tangent(top) + anatomy.curve.tangent(bottom)
    if top != bottom:
        along = anatomy.curve.tangent(anatomy.level_disc(Level.L4_L5).s) + anatomy.curve.tangent(0.0)
    along /= np.linalg.norm(along)
    margin = (11.0, 13.0) if top != bottom else (7.0, 9.0)
    ends = anatomy.curve.to_world(np.array([[0.0, -10.0, top + margin[0]], [0.0, -10.0, bottom - margin[1]]]))
    step = float(rng.choice([4.4, 4.8, 5.0]))
    matrix, view = MATRICES[size, True], rng.uniform(165.0, 190.0)
    shown = (matrix.shown, matrix.shown, int(np.ceil(abs((ends[0] - ends[1]) @ along) / step)) + 1)
    right = np.array([1.0, 0.0, 0.0])
    axes = np.stack([-right, -np.cross(along, right), along], axis=1)
    affine = _centred(axes, [view / matrix.shown] * 2 + [step], shown, ends.mean(axis=0))
    motion = rng.normal(0.0, 0.4, 3)
    return Scan(SeriesType.AXIAL_T2, T2, field, affine, shown, matrix.acquired, 4.0, motion)


def _turn(about_z: float, about_y: float) -> Array:
    """A small rotation in rad about the patient's long axis, then about the antero-posterior one."""
    cz, sz, cy, sy = np.cos(about_z), np.sin(about_z), np.cos(about_y), np.sin(about_y)
    return np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])


def _centred(axes: Array, step: list[float], size: tuple[int, int, int], middle: Array) -> Array:
    """Affine with the unit vectors ``axes`` (columns) and its middle voxel at ``middle``."""
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(step)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(size) - 1) / 2)
    return affine


def acquire(anatomy: Anatomy, scan: Scan, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Grey values ``(slices, rows, columns)`` of a scan."""
    ratio = scan.size[0] / scan.acquired
    affine = scan.affine @ np.diag([ratio, ratio, 1.0, 1.0])
    affine[:3, 3] -= scan.motion
    size = (scan.acquired, scan.acquired, scan.size[2])
    image = _render(anatomy, scan, affine, size) * _bias(anatomy, affine, size, rng)
    _add_noise(image, 1.0 / rng.uniform(28.0, 45.0), rng)
    spread = _interpolation(scan.acquired, scan.size[0])
    shown = np.matmul(spread, image @ spread.T)
    shown *= np.float32(FAT_GREY * rng.uniform(0.6, 1.6))
    return np.clip(shown, 0, 4095).astype(np.uint16)


def _add_noise(image: Field, deviation: float, rng: np.random.Generator) -> None:
    """Rician noise, in place: the imaginary channel's is the real one's from elsewhere, to draw half as much."""
    noise = rng.standard_normal(image.size + NOISE_SHIFT, dtype=np.float32)
    noise *= np.float32(deviation)
    image += noise[NOISE_SHIFT:].reshape(image.shape)
    np.hypot(image, noise[:-NOISE_SHIFT].reshape(image.shape), out=image)


def label_map(
    anatomy: Anatomy, affine: Array, size: tuple[int, int, int], passes: Array = CENTRES
) -> npt.NDArray[np.uint8]:
    """Tissues at ``passes`` places in each voxel of a grid, shape ``(P * slices, rows, columns)``."""
    canvas = Canvas.blank(anatomy.curve, affine, size, passes)
    soft_tissue.paint(canvas.coarse(), anatomy)  # large and smooth: one sample a voxel will do
    canvas.spread_coarse()
    bones.paint(canvas, anatomy)
    canal.paint(canvas, anatomy)
    return canvas.whole.tissue


def _render(anatomy: Anatomy, scan: Scan, affine: Array, size: tuple[int, int, int]) -> Field:
    """Mean signal over the samples in every voxel, the brightest tissue at 1; some slices at a time."""
    signal = table(anatomy, scan.sequence, scan.field)
    signal /= signal.max()
    passes = PASSES * [1.0, 1.0, scan.thickness / np.linalg.norm(affine[:3, 2])]
    at_once = max(1, BATCH // (size[0] * size[1] * len(passes)))
    image = np.empty(size[::-1], dtype=np.float32)
    for start in range(0, size[2], at_once):
        count = min(at_once, size[2] - start)
        moved = np.array(affine)
        moved[:3, 3] += start * affine[:3, 2]
        tissue = label_map(anatomy, moved, (size[0], size[1], count), passes)
        signal[tissue].reshape(count, len(passes), size[1], size[0]).mean(axis=1, out=image[start : start + count])
    return image


def _bias(anatomy: Anatomy, affine: Array, size: tuple[int, int, int], rng: np.random.Generator) -> Field:
    """Sensitivity of the coil under the back, times the saturation band in front of a sagittal series."""
    i, j = np.linspace(0, size[0] - 1, 17), np.linspace(0, size[1] - 1, 17)
    kk, jj, ii = np.meshgrid(np.arange(size[2]), j, i, indexing="ij")
    x, y, z = np.moveaxis(to_world(affine, np.stack([ii, jj, kk], axis=-1)) - anatomy.curve.origin, -1, 0)
    near = 1.25 * np.exp(-np.maximum(y + 40.0, 0) / rng.uniform(110.0, 180.0))
    waves = 1.0 + 0.06 * np.sin(x / 55.0 + rng.uniform(0, 6)) + 0.06 * np.sin(z / 70.0 + rng.uniform(0, 6))
    band = 1.0 / (1.0 + np.exp((y - rng.uniform(38.0, 55.0)) / 6.0))
    sagittal = abs(affine[0, 2]) > abs(affine[2, 2])
    coarse = (near * waves * (0.12 + 0.88 * band if sagittal else 1.0)).astype(np.float32)
    spread_i = _linear(i, size[0])
    return _linear(j, size[1]) @ (coarse @ spread_i.T)


def _linear(nodes: Array, count: int) -> Field:
    """Matrix ``(count, nodes)`` of linear interpolation."""
    rows = np.eye(len(nodes))
    return np.stack([np.interp(np.arange(count), nodes, row) for row in rows], axis=1).astype(np.float32)


@cache
def _interpolation(acquired: int, shown: int) -> Field:
    """Zero filling in k-space with a mild window, as a ``(shown, acquired)`` matrix.

    Pixel 0 stays where it is. The cut at the edge of k-space leaves the faint ringing that real images have.
    """
    order = np.arange(-(acquired // 2), (acquired + 1) // 2)
    taper = 0.5 + 0.5 * np.cos(np.pi * np.clip(np.abs(order) / (acquired / 2) - 0.55, 0, None) / 0.45)
    shift = np.arange(shown)[:, None] * acquired / shown - np.arange(acquired)
    waves = np.exp(2j * np.pi * shift[..., None] * order / acquired) @ taper
    return (waves.real / acquired).astype(np.float32)
