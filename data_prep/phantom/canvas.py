"""Painting tissues into a series' own voxels: structures are given in spine coordinates, later ones on top.

The spine coordinates of all samples are computed on a coarse lattice of each slice and spread linearly between its
nodes (the curve's radius is above 60 mm, so a 7 mm lattice is off by less than 0.1 mm).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from data_prep.phantom.curve import SpineCurve
from monai_spine.geometry import Array, to_voxel, to_world

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

LATTICE = 7.0
"""Largest distance of lattice nodes in mm."""


@dataclass(frozen=True)
class Patch:
    """A box of samples: spine coordinates ``r``, ``a``, ``s`` (mm) and the tissues there, each ``(K, J, I)``."""

    r: Field
    a: Field
    s: Field
    tissue: npt.NDArray[np.uint8]

    @property
    def side(self) -> Field:
        """Distance from the midline."""
        return np.abs(self.r)

    def paint(self, where: Mask, tissue: int) -> None:
        """Give the samples in ``where`` a tissue."""
        np.copyto(self.tissue, np.uint8(tissue), where=where)


@dataclass(frozen=True)
class Canvas:
    """All samples of one pass over a series.

    Attributes
    ----------
    curve
        Of the person.
    affine
        From sample indices ``(i, j, k)`` to RAS mm.
    whole
        Arrays of shape ``(K, J, I)``: slices, rows, columns.
    """

    curve: SpineCurve
    affine: Array
    whole: Patch

    @classmethod
    def blank(cls, curve: SpineCurve, affine: Array, size: tuple[int, int, int]) -> Canvas:
        """An empty canvas of ``size`` = columns, rows, slices."""
        r, a, s = _coordinates(curve, affine, size)
        return cls(curve, affine, Patch(r, a, s, np.zeros(r.shape, dtype=np.uint8)))

    def box(self, r: tuple[float, float], a: tuple[float, float], s: tuple[float, float]) -> Patch | None:
        """The samples around a box in spine coordinates (a few more for sure), or None if there are none."""
        mesh = np.array(list(product(np.linspace(*r, 3), np.linspace(*a, 3), np.linspace(*s, 3))))
        corners = to_voxel(self.affine, self.curve.to_world(mesh))
        low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, self.whole.tissue.shape[::-1])
        if np.any(low >= high):
            return None
        part = tuple(slice(lo, hi) for lo, hi in zip(low[::-1], high[::-1], strict=True))
        return Patch(self.whole.r[part], self.whole.a[part], self.whole.s[part], self.whole.tissue[part])


def _coordinates(curve: SpineCurve, affine: Array, size: tuple[int, int, int]) -> tuple[Field, Field, Field]:
    """Spine coordinates of every sample, three arrays of shape ``(K, J, I)``."""
    steps = np.linalg.norm(affine[:3, :2], axis=0)
    nodes_i, spread_i = _lattice(size[0], steps[0])
    nodes_j, spread_j = _lattice(size[1], steps[1])
    k, j, i = np.meshgrid(np.arange(size[2]), nodes_j, nodes_i, indexing="ij")
    spine = curve.to_spine(to_world(affine, np.stack([i, j, k], axis=-1))).astype(np.float32)
    r, a, s = (spread_j @ (spine[..., axis] @ spread_i.T) for axis in range(3))
    return r, a, s


def _lattice(count: int, step: float) -> tuple[Array, Field]:
    """Nodes along one axis of ``count`` samples, and the ``(count, nodes)`` matrix of linear interpolation."""
    nodes = np.linspace(0, count - 1, max(2, int(np.ceil((count - 1) * step / LATTICE)) + 1))
    spread = np.stack([np.interp(np.arange(count), nodes, row) for row in np.eye(len(nodes))], axis=1)
    return nodes, spread.astype(np.float32)
