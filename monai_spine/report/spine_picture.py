"""The mid-sagittal slice of a study: one picture in patient axes, with the places of the levels in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monai_spine.crops.pose import CropGrid
from monai_spine.crops.sampling import sample, smallest_rotation
from monai_spine.crops.stack import Stack, open_stack
from monai_spine.crops.study_images import STUDY_IMAGES
from monai_spine.crops.view import DIRECTIONS
from monai_spine.data.datalist import Record
from monai_spine.geometry import Array, Plane
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
    distance
        For each level, millimetres from its canal to the slice.
    source
        For people: series and slice.
    volume, slice_index, slice_axis
        The file, and the slice in it as stored.
    """

    pixels: Grey
    levels: Mapping[Level, tuple[float, float]]
    distance: Mapping[Level, float]
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
    normal = stack.grid.normal
    directions = DIRECTIONS[Plane.SAGITTAL]
    # The plane of the picture is that of the slice, so that points are projected as the slice is drawn.
    directions = smallest_rotation(directions[:, 2], normal) @ directions
    down = points @ directions[:, 1]
    middle = points.mean(axis=0) + ((down.min() + down.max()) / 2 - down.mean()) * directions[:, 1]
    origin = stack.affine[:3, 3] + k * stack.affine[:3, 2]
    middle = middle - ((middle - origin) @ normal) * normal
    height = max(_LEAST_HEIGHT_MM, float(np.ptp(down)) + 2 * _MARGIN_MM)
    step = 1 / PIXELS_PER_MM
    rows, columns = round(height * PIXELS_PER_MM), round(_WIDTH_MM * PIXELS_PER_MM)
    grid = CropGrid(middle, directions, (step, step, 1.0), (1, rows, columns))
    pixels = sample(stack, grid)[0][0].numpy()
    places, distances = {}, {}
    for level, point in canal.items():
        x, y, _ = (point - middle) @ directions
        places[level] = (x * PIXELS_PER_MM + columns / 2, y * PIXELS_PER_MM + rows / 2)
        distances[level] = float(abs((point - origin) @ normal))
    axis, index = stack.stored_slice(k)
    grey = (np.clip(pixels, 0, 1) ** 0.8 * 255).astype(np.uint8)  # lifts the dark discs a little
    return SpinePicture(grey, places, distances, f"{title}, slice {index}", stack.name, index, axis)
