"""Which stack serves which finding: the nearest slice plane to its point, if it is near enough and shows the point.

A series type may be there as several stacks: several series, or one angled sub-stack per disc. Each finding is served
by one of them, chosen for its own point, so that the left and the right recess of a level may be read in different
series. Nothing here reads files: a stack is its `Grid`, a point is RAS mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from monai_spine.geometry import Array, slice_normal, spacing
from monai_spine.spine import Group, SeriesType

PLANE_LIMIT_MM = 5.0
"""A stack whose nearest slice plane is farther from a point than this does not show it. Winners of the RSNA 2024
competition rejected axial planes beyond the same distance; slices lie 4 to 5 mm apart."""

VIEWS: dict[Group, tuple[SeriesType, ...]] = {
    Group.SPINAL: (SeriesType.SAGITTAL_T2, SeriesType.AXIAL_T2),
    Group.FORAMINAL: (SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2),
    Group.SUBARTICULAR: (SeriesType.AXIAL_T2,),
}
"""Series types that show a finding, the one that annotators read first. The next one stands in where the first does not
cover the point. Nothing stands in for axial images of the recesses, which no sagittal slice resolves. A stand-in is
looked at in its own right: its voxels are never passed off as the missing series type."""


@dataclass(frozen=True)
class Grid:
    """Where a stack lies: ``affine`` ``(4, 4)`` from voxels to RAS mm, and ``shape`` (columns, rows, slices)."""

    affine: Array
    shape: tuple[int, ...]

    @cached_property
    def normal(self) -> Array:
        """Unit normal of the slices."""
        return slice_normal(self.affine)

    @cached_property
    def from_world(self) -> Array:
        """``(3, 3)`` from RAS mm to voxels, but for the origin."""
        return np.asarray(np.linalg.inv(self.affine[:3, :3]), dtype=np.float64)

    @cached_property
    def pixel(self) -> Array:
        """Millimetres between columns, and between rows."""
        return spacing(self.affine)[:2]


@dataclass(frozen=True)
class Cover:
    """How a stack lies to a point.

    Attributes
    ----------
    k
        Index of the slice whose plane lies nearest.
    distance
        Millimetres from the point to that plane, along the normal; not negative.
    margin
        Millimetres from the point's foot in that plane to the nearest edge of the image; negative outside of it.
    """

    k: int
    distance: float
    margin: float

    def shows(self, limit: float = PLANE_LIMIT_MM) -> bool:
        """Whether the plane is within ``limit`` mm, and the point's foot inside of the image."""
        return self.distance <= limit and self.margin >= 0


def cover(grid: Grid, point: npt.ArrayLike) -> Cover:
    """The slice of a stack nearest to a point (RAS mm), how far it is, and how far inside of the image the point lies.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the affine is singular.
    """
    offset = np.asarray(point, dtype=np.float64) - grid.affine[:3, 3]
    along = float(offset @ grid.normal)
    gap = float(grid.affine[:3, 2] @ grid.normal)
    k = min(max(round(along / gap), 0), grid.shape[2] - 1)
    foot = (grid.from_world @ (offset - (along - k * gap) * grid.normal))[:2]
    beyond = np.maximum(-0.5 - foot, foot - (np.asarray(grid.shape[:2]) - 0.5)) * grid.pixel
    margin = -float(np.hypot(*np.maximum(beyond, 0.0))) or -float(beyond.max())
    return Cover(k, abs(along - k * gap), margin)


def serving(covers: Sequence[Cover], limit: float = PLANE_LIMIT_MM) -> int | None:
    """Index of the stack that serves a point, None if no stack shows it.

    Of those that show it, it is the one with the nearest plane; the first of equals.
    """
    showing = [n for n, one in enumerate(covers) if one.shows(limit)]
    return min(showing, key=lambda n: covers[n].distance, default=None)
