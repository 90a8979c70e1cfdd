"""How a crop is turned, stretched and moved: drawn at random for training, and all zero otherwise."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from monai_spine.crops.frame import LevelFrame
from monai_spine.crops.view import View
from monai_spine.errors import InvalidOptionError
from monai_spine.geometry import Array


@dataclass(frozen=True)
class Pose:
    """A change of one crop.

    Attributes
    ----------
    rotation
        Degrees in the plane.
    tilt
        Degrees by which the planes are turned about a crop's columns, then about its rows.
    scale
        Millimetres of a plane that take the place of one.
    shift
        Millimetres along a crop's columns, rows and slices, before it is turned.
    jitter
        Millimetres along right, forwards and up: what the points are off by.
    """

    rotation: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)


UPRIGHT = Pose()


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Limits of what is drawn at random for each level and view; the mirror for a whole study, the jitter for a level.

    Attributes
    ----------
    rotation
        Degrees in the plane, either way.
    tilt
        Degrees out of the plane, either way, about each of two axes.
    scale
        Planes show up to ``1 + scale`` times as many millimetres, or as few.
    shift_mm
        In the plane, either way.
    slice_shift_mm
        Across the planes, either way.
    jitter_mm
        Standard deviation of the points' error along each axis; errors beyond twice this are cut to it.
    mirror
        Probability that left and right are exchanged.

    Raises
    ------
    InvalidOptionError
        If a limit is negative, or the mirror's above 1.
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
            if not getattr(self, field.name) >= 0:
                raise InvalidOptionError(f"augmentation: expected {field.name} of at least 0")
        if self.mirror > 1:
            raise InvalidOptionError(f"augmentation: expected mirror from 0 to 1, but found {self.mirror}")

    def draw_mirror(self, random: np.random.RandomState) -> bool:
        """Whether to exchange left and right."""
        return bool(random.random() < self.mirror)

    def draw_jitter(self, random: np.random.RandomState) -> tuple[float, float, float]:
        """What a level's points are off by."""
        x, y, z = np.clip(random.normal(size=3), -2.0, 2.0) * self.jitter_mm
        return float(x), float(y), float(z)

    def draw(self, random: np.random.RandomState, jitter: tuple[float, float, float]) -> Pose:
        """The pose of one crop."""
        turn, about_columns, about_rows, stretch, x, y, across = random.uniform(-1.0, 1.0, 7)
        return Pose(
            rotation=turn * self.rotation,
            tilt=(about_columns * self.tilt, about_rows * self.tilt),
            scale=float((1.0 + self.scale) ** stretch),
            shift=(x * self.shift_mm, y * self.shift_mm, across * self.slice_shift_mm),
            jitter=jitter,
        )


NO_AUGMENTATION = Augmentation(
    rotation=0.0, tilt=0.0, scale=0.0, shift_mm=0.0, slice_shift_mm=0.0, jitter_mm=0.0, mirror=0.0
)


@dataclass(frozen=True)
class CropGrid:
    """Where a crop's samples lie.

    Attributes
    ----------
    centre
        RAS mm of the crop's middle.
    directions
        ``(3, 3)``: columns are unit vectors in RAS along a crop's columns, rows and slices. Left-handed when mirrored.
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


def crop_grid(view: View, frame: LevelFrame, pose: Pose = UPRIGHT, *, mirrored: bool = False) -> CropGrid:
    """The samples of a view of a level.

    ``mirrored`` reverses the axis that runs along the patient's left-right axis after all else, so that the crop is the
    same picture seen in a mirror.
    """
    directions = frame.basis @ view.directions
    centre = frame.anchors[view.anchor] + frame.basis @ np.array(pose.jitter) + directions @ np.array(pose.shift)
    directions = directions @ _rotation(pose)
    if mirrored:
        directions[:, 2 - view.mirrored_axis] *= -1
    height, width = view.size_mm
    rows, columns = view.pixels
    step = (width / columns * pose.scale, height / rows * pose.scale, view.gap_mm)
    return CropGrid(centre, directions, step, view.shape)


def _rotation(pose: Pose) -> Array:
    """Turns about the columns, the rows, then the normal, in a crop's own axes."""
    (cx, cy, cz), (sx, sy, sz) = (f(np.radians([*pose.tilt, pose.rotation])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z, dtype=np.float64)
