"""Coverage: which stack shows which finding, by the slice plane nearest to the finding's point.

Used after the points are known: by crops, evidence and the coverage table. A study may hold a series type as several
stacks: several series, or one angled sub-stack per disc. Each finding is read in one of them, chosen for its own point,
so the left and the right recess of a level may be read in different series. Nothing here reads files: a stack is its
`Grid`, a point is RAS mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from monai_spine.geometry import Array, slice_normal, spacing
from monai_spine.spine import Group, SeriesType

PLANE_LIMIT_MM = 5.0
"""A stack does not show a point that is farther than this many mm from its nearest slice plane. Winners of the RSNA
2024 competition rejected axial planes beyond the same distance; slices lie 4 to 5 mm apart."""

VIEWS: dict[Group, tuple[SeriesType, ...]] = {
    Group.SPINAL: (SeriesType.SAGITTAL_T2, SeriesType.AXIAL_T2),
    Group.FORAMINAL: (SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2),
    Group.SUBARTICULAR: (SeriesType.AXIAL_T2,),
}
"""Series types that show each group of findings, the one that annotators read comes first. The second is the substitute
series: it is read where the first does not cover the point, and outputs name it, so that its voxels are never taken for
those of the missing series type. Recesses have no substitute, since no sagittal slice resolves them."""


@dataclass(frozen=True)
class Grid:
    """Position of a stack: ``affine`` ``(4, 4)`` from voxels to RAS mm, and ``shape`` (columns, rows, slices)."""

    affine: Array
    shape: tuple[int, ...]

    @cached_property
    def normal(self) -> Array:
        """Unit normal of the slices."""
        return slice_normal(self.affine)

    @cached_property
    def from_world(self) -> Array:
        """``(3, 3)``: the linear part of the mapping from RAS mm to voxels."""
        return np.asarray(np.linalg.inv(self.affine[:3, :3]), dtype=np.float64)

    @cached_property
    def pixel(self) -> Array:
        """Millimetres between columns, and between rows."""
        return spacing(self.affine)[:2]


@dataclass(frozen=True)
class Coverage:
    """How a stack lies relative to a point."""

    k: int
    """Index of the slice whose plane is nearest."""
    distance: float
    """Millimetres from the point to that plane, along the normal; never negative."""
    margin: float
    """Millimetres from the point's projection on that plane to the nearest edge of the image; negative outside."""

    def shows(self) -> bool:
        """Whether the plane is within `PLANE_LIMIT_MM` and the point's projection lies inside the image."""
        return self.distance <= PLANE_LIMIT_MM and self.margin >= 0


def coverage_of(grid: Grid, point: npt.ArrayLike, slices: Sequence[int] = ()) -> Coverage:
    """How a stack covers a point (RAS mm), by the nearest of the given slices, or of all if none are given.

    Raises `numpy.linalg.LinAlgError` if the affine is singular.
    """
    offset = np.asarray(point, dtype=np.float64) - grid.affine[:3, 3]
    along = float(offset @ grid.normal)
    # The distance between planes is measured along the normal: in a sheared stack the step between slices is longer.
    gap = float(grid.affine[:3, 2] @ grid.normal)
    if slices:
        k = min(slices, key=lambda one: abs(along - one * gap))
    else:
        k = min(max(round(along / gap), 0), grid.shape[2] - 1)
    foot = (grid.from_world @ (offset - (along - k * gap) * grid.normal))[:2]
    # Voxel centres are integers, so the image ends half a pixel beyond the outermost ones.
    beyond = np.maximum(-0.5 - foot, foot - (np.asarray(grid.shape[:2]) - 0.5)) * grid.pixel
    # Outside a corner the distance is diagonal; inside (hypot is 0) the nearest edge counts.
    margin = -float(np.hypot(*np.maximum(beyond, 0.0))) or -float(beyond.max())
    return Coverage(k, abs(along - k * gap), margin)


def nearest_showing(coverages: Sequence[Coverage]) -> int | None:
    """Index of the stack in which a point is read, or None if no stack shows it.

    Of the stacks that show the point, it is the one with the nearest plane; the first of equals.
    """
    showing = [n for n, one in enumerate(coverages) if one.shows()]
    return min(showing, key=lambda n: coverages[n].distance, default=None)


def why_not_covered(series_type: SeriesType, coverages: Sequence[Coverage]) -> str:
    """Why none of a series type's stacks shows a point, in the words of every output.

    It is about the stack that comes closest: one with a near plane, and of those the least far outside of the image.
    """
    if not coverages:
        return f"no {series_type.title}"
    nearest = min(coverages, key=lambda one: (one.distance > PLANE_LIMIT_MM, one.distance - min(one.margin, 0.0)))
    if nearest.distance > PLANE_LIMIT_MM:
        return f"{series_type.title}: nearest plane {nearest.distance:.1f} mm away"
    return f"{series_type.title}: {-nearest.margin:.1f} mm outside of the image"
