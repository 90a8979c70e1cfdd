"""The mid-sagittal slice of a study: one picture in patient axes, with the places of the levels in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_spine.crops.pose import CropGrid
from monai_spine.crops.sampling import sample, smallest_rotation
from monai_spine.crops.stack import Stack, open_stack
from monai_spine.crops.study import STUDY_IMAGES
from monai_spine.crops.view import DIRECTIONS
from monai_spine.data.datalist import Record
from monai_spine.geometry import Array, Plane, plane_of_normal
from monai_spine.report.crop_pictures import Grey
from monai_spine.report.study_result import StudyResult
from monai_spine.spine import Condition, Level, SeriesType

_WIDTH_MM = 150.0
_MARGIN_MM = 48.0
"""Above the uppermost level and below the lowest one."""
_LEAST_HEIGHT_MM = 180.0
PIXELS_PER_MM = 2.5


@dataclass(frozen=True)
class SpinePicture:
    """The slice through the canal.

    Attributes
    ----------
    pixels
        ``(rows, columns)``: anterior on the left, superior on top, `PIXELS_PER_MM`.
    levels
        Column and row of each level's canal in the picture.
    source
        For people: series and slice.
    volume, slice_index, slice_axis
        The file, and the slice in it as stored.
    """

    pixels: Grey
    levels: Mapping[Level, tuple[float, float]]
    source: str
    volume: str
    slice_index: int
    slice_axis: int


def spine_picture(record: Record, result: StudyResult) -> SpinePicture | None:
    """The sagittal slice nearest to the canal's points, of a T2 series if there is one; None without points or series.

    Raises
    ------
    InvalidVolumeError, MissingInputError
        If the volume cannot be used.
    """
    canal = {
        one.finding.level: np.asarray(one.point)
        for one in result.of(Condition.SPINAL_CANAL_STENOSIS)
        if one.point is not None
    }
    if not canal:
        return None
    opened = record[STUDY_IMAGES].open if STUDY_IMAGES in record else open_stack
    for series_type in (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1):
        stacks = [opened(file).turned(DIRECTIONS[Plane.SAGITTAL]) for file in record[series_type.value]]
        if stacks:
            points = np.array(list(canal.values()))
            stack = min(stacks, key=lambda one: _off_slice(one, points)[1])
            return _picture(stack, canal, points, series_type.title)
    return None


def _off_slice(stack: Stack, points: Array) -> tuple[int, float]:
    """The slice nearest to the median of points, and the points' mean distance to it in mm."""
    normal = stack.grid.normal
    gap = float(stack.affine[:3, 2] @ normal)
    along = (points - stack.affine[:3, 3]) @ normal / gap
    k = int(np.clip(np.rint(np.median(along)), 0, stack.shape[2] - 1))
    return k, float(np.abs(along - k).mean() * abs(gap))


def _picture(stack: Stack, canal: Mapping[Level, Array], points: Array, title: str) -> SpinePicture:
    k, _ = _off_slice(stack, points)
    down = points @ DIRECTIONS[Plane.SAGITTAL][:, 1]
    # In the middle between the uppermost and the lowest level.
    middle = points.mean(axis=0) + ((down.min() + down.max()) / 2 - down.mean()) * DIRECTIONS[Plane.SAGITTAL][:, 1]
    height = max(_LEAST_HEIGHT_MM, float(np.ptp(down)) + 2 * _MARGIN_MM)
    shown = slice_picture(stack, k, middle, (height, _WIDTH_MM), PIXELS_PER_MM)
    places = {level: shown.place(point) for level, point in canal.items()}
    axis, index = stack.stored_slice(k)
    return SpinePicture(shown.pixels, places, f"{title}, slice {index}", stack.name, index, axis)


@dataclass(frozen=True)
class SlicePicture:
    """A part of one slice as a picture.

    Attributes
    ----------
    pixels
        ``(rows, columns)``.
    middle, directions
        RAS mm of the picture's middle, and ``(3, 3)`` unit vectors along its columns, its rows and across the slice.
    """

    pixels: Grey
    middle: Array
    directions: Array
    pixels_per_mm: float

    def place(self, point: npt.ArrayLike) -> tuple[float, float]:
        """Column and row of a point (RAS mm), projected onto the slice."""
        rows, columns = self.pixels.shape
        x, y, _ = (np.asarray(point) - self.middle) @ self.directions
        return float(x * self.pixels_per_mm + columns / 2), float(y * self.pixels_per_mm + rows / 2)


def slice_picture(
    stack: Stack, k: int, middle: npt.ArrayLike, size_mm: tuple[float, float], pixels_per_mm: float
) -> SlicePicture:
    """Slice ``k`` of a stack around a point (RAS mm), as radiologists see it.

    Parameters
    ----------
    stack
        Its axes along those of a plane in `DIRECTIONS` (`Stack.turned`).
    size_mm
        Height and width.
    """
    normal = stack.grid.normal
    towards = DIRECTIONS[Plane.SAGITTAL if plane_of_normal(normal) is Plane.SAGITTAL else Plane.AXIAL]
    # The plane of the picture is that of the slice, so that points are projected as the slice is drawn.
    directions = smallest_rotation(towards[:, 2], normal) @ towards
    origin = stack.affine[:3, 3] + k * stack.affine[:3, 2]
    on_slice = np.asarray(middle) - ((np.asarray(middle) - origin) @ normal) * normal
    step = 1 / pixels_per_mm
    shape = (1, round(size_mm[0] * pixels_per_mm), round(size_mm[1] * pixels_per_mm))
    pixels = sample(stack, CropGrid(on_slice, directions, (step, step, 1.0), shape))[0][0]
    grey = (np.clip(pixels, 0, 1) ** 0.8 * 255).astype(np.uint8)  # lifts the dark discs a little
    return SlicePicture(grey, on_slice, directions, pixels_per_mm)
