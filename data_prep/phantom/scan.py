"""The series to acquire: sequence, planes, matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.ghost import Ghost
from data_prep.phantom.signal import T1, T2, Sequence, stir
from data_prep.phantom.size import Size
from monai_spine.geometry import Array
from monai_spine.spine import Level, SeriesType


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
    ghost
        How the patient breathes, if that leaves ghosts.
    kept
        The share of k-space, from its middle, that is acquired; below 1 without a window, so that edges ring.
    """

    kind: SeriesType
    sequence: Sequence
    field: float
    affine: Array
    size: tuple[int, int, int]
    acquired: int
    thickness: float
    motion: Array
    ghost: Ghost | None = None
    kept: float = 1.0


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
