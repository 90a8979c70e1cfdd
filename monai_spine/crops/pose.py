"""The pose of a crop: its rotation, scale and shift, drawn at random in training and zero otherwise.

The second half of a crop's geometry: `crop_grid` makes the grid of samples from a view, a frame and a pose.
"""

from dataclasses import dataclass

import numpy as np

from monai_spine.crops.frame import LevelFrame
from monai_spine.crops.view import View
from monai_spine.geometry import Array


@dataclass(frozen=True)
class Pose:
    """The random change of one crop."""

    rotation: float = 0.0
    """Degrees in the plane."""
    tilt: tuple[float, float] = (0.0, 0.0)
    """Degrees of rotation of the planes about a crop's columns, then about its rows."""
    scale: float = 1.0
    """Factor by which a plane shows more millimetres than the view asks for."""
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Millimetres along a crop's columns, rows and slices, before the rotation."""
    jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Millimetres along right, forwards and up: the error of the points."""


UPRIGHT = Pose()


@dataclass(frozen=True)
class CropGrid:
    """The positions of a crop's samples."""

    centre: Array
    """RAS mm of the crop's middle."""
    directions: Array
    """``(3, 3)``: columns are unit vectors in RAS along a crop's columns, rows and slices. Left-handed if flipped."""
    step: tuple[float, float, float]
    """Millimetres from column to column, row to row, slice to slice."""
    shape: tuple[int, int, int]
    """Slices, rows, columns."""

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
