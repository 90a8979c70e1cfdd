"""The pose of a crop: its rotation, scale and shift, drawn at random in training and zero otherwise.

The second half of a crop's geometry: `crop_grid` makes the grid of samples from a view, a frame and a pose.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from monai_spine.crops.frame import LevelFrame
from monai_spine.crops.view import View
from monai_spine.errors import InvalidOptionError
from monai_spine.geometry import Array


@dataclass(frozen=True)
class Pose:
    """The random change of one crop.

    Attributes
    ----------
    rotation
        Degrees in the plane.
    tilt
        Degrees of rotation of the planes about a crop's columns, then about its rows.
    scale
        Factor by which a plane shows more millimetres than the view asks for.
    shift
        Millimetres along a crop's columns, rows and slices, before the rotation.
    jitter
        Millimetres along right, forwards and up: the error of the points.
    """

    rotation: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)


UPRIGHT = Pose()


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Limits of the random changes. A pose is drawn for each level and view, the jitter per level, the flip per study.

    Attributes
    ----------
    rotation
        Degrees in the plane, in both directions.
    tilt
        Degrees out of the plane, in both directions, about each of two axes.
    scale
        Planes show between ``1 / (1 + scale)`` and ``1 + scale`` times the millimetres of the view.
    shift_mm
        Millimetres in the plane, in both directions.
    slice_shift_mm
        Millimetres across the planes, in both directions.
    jitter_mm
        Standard deviation in mm of the points' error along each axis; errors are cut at two deviations.
    mirror
        Probability of a flip, which exchanges left and right.

    Raises
    ------
    InvalidOptionError
        If a limit is negative, or ``mirror`` is above 1.
    """

    rotation: float = 15.0
    tilt: float = 5.0
    scale: float = 0.15
    shift_mm: float = 3.0
    slice_shift_mm: float = 1.0
    jitter_mm: float = 1.5
    mirror: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) >= 0:  # written so that NaN fails too
                raise InvalidOptionError(f"augmentation: expected {field.name} of at least 0")
        if self.mirror > 1:
            raise InvalidOptionError(f"augmentation: expected mirror from 0 to 1, but found {self.mirror}")

    def draw_flip(self, random: np.random.RandomState) -> bool:
        """Whether to exchange left and right."""
        return bool(random.random() < self.mirror)

    def draw_jitter(self, random: np.random.RandomState) -> tuple[float, float, float]:
        """The error in mm of a level's points."""
        # Cut at two deviations, so that the part of a volume that the cache keeps stays small.
        x, y, z = np.clip(random.normal(size=3), -2.0, 2.0) * self.jitter_mm
        return float(x), float(y), float(z)

    def draw(self, random: np.random.RandomState, jitter: tuple[float, float, float]) -> Pose:
        """The pose of one crop."""
        turn, about_columns, about_rows, stretch, x, y, across = random.uniform(-1.0, 1.0, 7)
        return Pose(
            rotation=turn * self.rotation,
            tilt=(about_columns * self.tilt, about_rows * self.tilt),
            scale=float((1.0 + self.scale) ** stretch),  # the exponent is uniform: as often larger as smaller
            shift=(x * self.shift_mm, y * self.shift_mm, across * self.slice_shift_mm),
            jitter=jitter,
        )


NO_AUGMENTATION = Augmentation(
    rotation=0.0, tilt=0.0, scale=0.0, shift_mm=0.0, slice_shift_mm=0.0, jitter_mm=0.0, mirror=0.0
)


@dataclass(frozen=True)
class CropGrid:
    """The positions of a crop's samples.

    Attributes
    ----------
    centre
        RAS mm of the crop's middle.
    directions
        ``(3, 3)``: columns are unit vectors in RAS along a crop's columns, rows and slices. Left-handed if flipped.
    step
        Millimetres from column to column, row to row, slice to slice.
    shape
        Slices, rows, columns.
    """

    centre: Array
    directions: Array
    step: tuple[float, float, float]
    shape: tuple[int, int, int]

    @property
    def affine(self) -> Array:
        """``(4, 4)`` from (column, row, slice) to RAS mm."""
        affine = np.eye(4)
        affine[:3, :3] = self.directions * self.step
        affine[:3, 3] = self.centre - affine[:3, :3] @ ((np.array(self.shape[::-1]) - 1) / 2)
        return affine

    @property
    def centres(self) -> Array:
        """``(slices, 3)``: RAS mm of the middle of each plane."""
        offsets = (np.arange(self.shape[0]) - (self.shape[0] - 1) / 2) * self.step[2]
        return self.centre + offsets[:, None] * self.directions[:, 2]


def crop_grid(view: View, frame: LevelFrame, pose: Pose = UPRIGHT, *, flipped: bool = False) -> CropGrid:
    """The grid of samples for a view of a level.

    ``flipped`` reverses the axis that runs along the patient's left-right axis. This comes last, so the flipped crop is
    exactly the reversed array of the crop in the same pose.
    """
    directions = frame.basis @ view.directions
    centre = frame.anchors[view.anchor] + frame.basis @ np.array(pose.jitter) + directions @ np.array(pose.shift)
    directions = directions @ _rotation(pose)
    if flipped:
        directions[:, 2 - view.flipped_axis] *= -1  # grids count columns, rows, slices; crops slices, rows, columns
    height, width = view.size_mm
    rows, columns = view.pixels
    step = (width / columns * pose.scale, height / rows * pose.scale, view.gap_mm)
    return CropGrid(centre, directions, step, view.shape)


def _rotation(pose: Pose) -> Array:
    """``(3, 3)``: rotation about the columns, the rows, then the normal, in a crop's own axes."""
    (cx, cy, cz), (sx, sy, sz) = (f(np.radians([*pose.tilt, pose.rotation])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z, dtype=np.float64)
