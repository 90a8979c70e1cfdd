"""The extent of augmented crops: which part of a stack the cache must keep."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monai_spine.crops.augmentation import Augmentation
from monai_spine.crops.frame import LevelFrame
from monai_spine.crops.sampling import smallest_rotation
from monai_spine.crops.stack import Stack
from monai_spine.crops.view import Between, View
from monai_spine.geometry import Array, to_voxel

_MARGIN = 2
"""Voxels added on all sides: the neighbours that interpolation reads, and rounding."""


def crop_extent(view: View, frame: LevelFrame, stack: Stack, limits: Augmentation) -> npt.NDArray[np.int64]:
    """The box of voxels, ``(2, 3)`` in the file's order of axes, that contains every crop within the limits.

    ``stack`` is turned to the view's directions. The box is an upper bound: each limit is taken at its own worst case.
    """
    directions = frame.basis @ view.directions
    from_world = stack.grid.from_world
    inside, across = _half_sizes(view, limits)
    tilted = _tilted(limits.tilt)
    moved = np.array([limits.shift_mm, limits.shift_mm, limits.slice_shift_mm]) + 2.0 * limits.jitter_mm
    if view.between is Between.LINEAR:
        half = np.abs(from_world @ directions) @ (tilted @ (inside + across) + moved)
    else:
        # A native plane is turned into the nearest slice, so its extent lies in that slice. Its middle is projected
        # onto the slice along the normal; in a sheared stack each slice is shifted by the stack's step.
        normal = stack.grid.normal
        into_slice = smallest_rotation(directions[:, 2], normal)
        feet = np.eye(3) - np.outer(normal, normal)
        feet = feet + np.outer(stack.affine[:3, 2], normal) / (stack.affine[:3, 2] @ normal)
        half = np.abs(from_world @ into_slice @ directions) @ inside
        half = half + np.abs(from_world @ feet @ directions) @ (tilted @ across + moved)
    middle = to_voxel(stack.affine, frame.anchors[view.anchor])
    low = np.clip(np.floor(middle - half) - _MARGIN, 0, stack.shape)
    high = np.clip(np.ceil(middle + half) + _MARGIN + 1, low, stack.shape)
    return stack.stored_box(low, high)


def _half_sizes(view: View, limits: Augmentation) -> tuple[Array, Array]:
    """Half of a crop's size in mm along its own axes: in its plane, turned and scaled, and across its planes.

    Turning tilted planes back into slices can leave a small rotation in the plane; adding the tilt twice bounds it.
    """
    height, width = view.size_mm
    most = np.radians(min(90.0, limits.rotation + 2.0 * limits.tilt))
    halves = []
    for own, other in ((width, height), (height, width)):
        worst = min(most, float(np.arctan2(other, own)))  # the extent of a rectangle is largest along its diagonal
        halves.append((own * np.cos(worst) + other * np.sin(worst)) / 2 * (1.0 + limits.scale))
    return np.array([*halves, 0.0]), np.array([0.0, 0.0, (view.slices - 1) / 2 * view.gap_mm])


def _tilted(degrees: float) -> Array:
    """``(3, 3)``: upper bound of what half sizes become when tilted about columns and rows by up to ``degrees``."""
    s = float(np.sin(np.radians(min(90.0, degrees))))
    return np.array([[1, 0, 0], [0, 1, s], [0, s, 1]]) @ np.array([[1, 0, s], [0, 1, 0], [s, 0, 1]])
