"""Painting tissues into the voxels of a series: structures are given in spine coordinates, later ones lie on top.

Every voxel is sampled at a few places, spread over its pixel and over the thickness of its slice. The samples of a
voxel follow each other along the first axis of all arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, auto

import numpy as np
import numpy.typing as npt

from data_prep.phantom.curve import EXTENT, STEP, Bounds, Field, Lattice, SpineCurve
from monai_spine.geometry import Array

Mask = npt.NDArray[np.bool_]
Span = tuple[float, float]

SIDES = (-1.0, 1.0)
"""Signs of ``r`` on the left and on the right."""
SHELL = (0.4, 1.1)
"""Thickness of cortical bone in mm: it differs between the samples of a voxel, because real cortex has no edge."""
OUTSIDE = 9.0
"""A squared radius that is never inside."""


class Tissue(IntEnum):
    """What a sample is made of; the value is its number in a label map."""

    AIR = 0
    FAT = auto()
    MUSCLE = auto()
    VISCERA = auto()
    BOWEL = auto()
    FLOWING_BLOOD = auto()
    CORTEX = auto()
    MARROW = auto()
    VEIN = auto()
    ANNULUS = auto()
    LIGAMENT = auto()
    CARTILAGE = auto()
    CSF = auto()
    NERVE = auto()
    CORD = auto()
    SKIN = auto()
    HAEMANGIOMA = auto()
    FLOWING_CSF = auto()
    INTERSPINOUS = auto()
    KIDNEY = auto()
    FLUID = auto()
    """Fluid in a joint, and granulation in the annulus."""
    OEDEMA = auto()
    SCLEROSIS = auto()
    NUCLEUS = auto()
    """Nucleus of the first disc; the following numbers are those of the discs below it."""


@dataclass(frozen=True)
class Patch:
    """A box of samples; every array has the shape ``(slices * samples, rows, columns)``.

    ``r``, ``a`` and ``s`` are spine coordinates in mm.
    """

    r: Field
    side: Field
    """Distance from the midline, ``|r|``."""
    a: Field
    s: Field
    tissue: npt.NDArray[np.uint8]
    """Numbers of `Tissue`."""
    samples: int = 1
    """Samples per voxel, which follow each other along the first axis."""

    def __getitem__(self, part: slice | tuple[slice, ...]) -> Patch:
        """A part of it, which shares its memory."""
        return Patch(self.r[part], self.side[part], self.a[part], self.s[part], self.tissue[part], self.samples)

    def spread(self, low: float, high: float) -> Field:
        """A value per sample, from ``low`` to ``high`` within a voxel, or their mean if a voxel has one sample.

        A threshold that differs between the samples of a voxel makes an outline fade.
        """
        steps = np.linspace(low, high, self.samples) if self.samples > 1 else np.array([(low + high) / 2])
        return np.tile(steps, len(self.r) // self.samples)[:, None, None].astype(np.float32)

    def paint(self, where: Mask, tissue: int) -> None:
        """Give the samples in ``where`` a tissue."""
        np.copyto(self.tissue, np.uint8(tissue), where=where)

    def paint_bone(self, squared_radius: Field, least: float) -> None:
        """Paint marrow in a cortical shell where ``squared_radius`` is at most 1; ``least`` is its smallest radius."""
        self.paint(squared_radius <= 1.0, Tissue.CORTEX)
        marrow = np.maximum(0.0, 1.0 - self.spread(*SHELL) / np.float32(least))
        self.paint(squared_radius <= marrow * marrow, Tissue.MARROW)


@dataclass(frozen=True)
class Canvas:
    """All samples of some slices of a series."""

    frames: Array
    """The curve's frames (see `SpineCurve.frames`) in voxels, ``(n, 3, 3)``."""
    samples: int
    """Samples per voxel."""
    whole: Patch
    """Arrays of shape ``(slices * samples, rows, columns)``."""
    heights: Span
    """Lowest and highest ``s`` of all samples."""

    @classmethod
    def blank(cls, curve: SpineCurve, affine: Array, size: tuple[int, int, int], offsets: Array) -> Canvas:
        """An empty canvas of ``size`` = columns, rows, slices.

        ``affine`` leads from ``(column, row, slice)`` to RAS mm. ``offsets`` ``(samples, 3)`` are the places of the
        samples in a voxel, from -0.5 to 0.5.
        """
        return cls.on(Lattice.over(curve, affine, size), frames_in_voxels(curve, affine), offsets)

    @classmethod
    def on(
        cls, lattice: Lattice, frames: Array, offsets: Array, columns: Bounds | None = None, rows: Bounds | None = None
    ) -> Canvas:
        """An empty canvas of a lattice's slices, or of some of their ``columns`` and ``rows``.

        ``frames`` are those of the curve in the lattice's voxels.
        """
        r, a, s = lattice.coordinates(offsets, columns, rows)
        frames = np.array(frames)
        frames[:, 0, :2] -= [(columns or (0, 0))[0], (rows or (0, 0))[0]]
        whole = Patch(r, np.abs(r), a, s, np.zeros(r.shape, dtype=np.uint8), len(offsets))
        return cls(frames, len(offsets), whole, (float(s.min()), float(s.max())))

    def coarse(self) -> Canvas:
        """The same canvas with the middle sample of every voxel only; `spread_coarse` copies it to the others."""
        return Canvas(self.frames, 1, self.one_sample(), self.heights)

    def one_sample(self) -> Patch:
        """The middle sample of every voxel: arrays of shape ``(slices, rows, columns)`` that share their memory."""
        return replace(self.whole[slice(self.samples // 2, None, self.samples)], samples=1)

    def spread_coarse(self) -> None:
        """Give all samples of a voxel the tissue of the middle one."""
        samples = self.whole.tissue.reshape(-1, self.samples, *self.whole.tissue.shape[1:])
        samples[:] = samples[:, self.samples // 2, None].copy()

    def slabs(self, most: int) -> Iterator[Canvas]:
        """The canvas in pieces of at least one slice and about ``most`` samples, which share its memory."""
        whole = self.whole
        at_once = max(1, most // (self.samples * whole.r[0].size))
        for start in range(0, len(whole.r) // self.samples, at_once):
            part = slice(start * self.samples, (start + at_once) * self.samples)
            frames = np.array(self.frames)
            frames[:, 0, 2] -= start
            yield Canvas(frames, self.samples, whole[part], self.heights)

    def box(self, r: Span, a: Span, s: Span) -> Patch | None:
        """The samples of a box in spine coordinates and a few around it, or None if the canvas does not meet it."""
        if s[1] < self.heights[0] or s[0] > self.heights[1]:
            return None
        (i0, j0, k0), (i1, j1, k1) = self._bounds(r, a, s)
        if i0 >= i1 or j0 >= j1 or k0 >= k1:
            return None
        index = (slice(k0 * self.samples, k1 * self.samples), slice(j0, j1), slice(i0, i1))
        return self.whole[index]

    def _bounds(self, r: Span, a: Span, s: Span) -> tuple[list[int], list[int]]:
        """First column, row and slice around a box, and those after the last ones."""
        # Plain Python: for a few numbers it is faster than arrays. Several heights, because the curve bends.
        pieces = max(2, int((s[1] - s[0]) / 40.0))
        lows, highs = [math.inf] * 3, [-math.inf] * 3
        for n in range(pieces + 1):
            row = round((s[0] + (s[1] - s[0]) * n / pieces + EXTENT) / STEP)
            middle, right, forward = self.frames[min(max(row, 0), len(self.frames) - 1)].tolist()
            for axis in range(3):
                across, along = (r[0] * right[axis], r[1] * right[axis]), (a[0] * forward[axis], a[1] * forward[axis])
                lows[axis] = min(lows[axis], middle[axis] + min(across) + min(along))
                highs[axis] = max(highs[axis], middle[axis] + max(across) + max(along))
        depth, rows, columns = self.whole.tissue.shape
        limits = (columns, rows, depth // self.samples)
        return [max(0, int(low - 1.0)) for low in lows], [
            min(int(high + 3.0), limit) for high, limit in zip(highs, limits, strict=True)
        ]


def frames_in_voxels(curve: SpineCurve, affine: Array) -> Array:
    """The curve's frames (see `SpineCurve.frames`) in the voxels of a grid, ``(n, 3, 3)``."""
    frames = curve.frames()
    frames[:, 0] -= affine[:3, 3]
    return np.asarray(frames @ np.linalg.inv(affine[:3, :3]).T, dtype=np.float64)


def squared(values: Field, radius: float | Field) -> Field:
    """``(values / radius) ** 2``."""
    scaled = values / radius if isinstance(radius, np.ndarray) else values * np.float32(1 / radius)
    scaled *= scaled
    return scaled


def cubed(values: Field, radius: float | Field) -> Field:
    """``|values / radius| ** 3``, many times faster than a general power."""
    scaled = np.abs(values / radius if isinstance(radius, np.ndarray) else values * np.float32(1 / radius))
    square = scaled * scaled
    square *= scaled
    return square


def speckle(r: Field, a: Field, s: Field) -> Field:
    """A number from -0.5 to 0.5 that looks random at every place: added to a distance, it makes an outline fade."""
    hashed = np.float32(4375.85) * np.sin(np.float32(12.9898) * r + np.float32(78.233) * a + np.float32(37.719) * s)
    return np.asarray(hashed - np.floor(hashed) - np.float32(0.5), dtype=np.float32)
