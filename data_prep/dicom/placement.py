"""Where a volume lies: its affine from the headers of all its slices, and how far any corner is from its own header.

A NIfTI file holds an affine twice: the sform as it is, the qform without shear. Readers differ in which they take (ITK
takes the qform where the sform has any shear), so both are made, and checked, with care.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from monai_spine.geometry import affine_from_dicom, spacing, to_world

Array = npt.NDArray[np.float64]

CORNER_TOLERANCE_MM = 0.05
"""How far a stored slice's corner may lie from where its own DICOM header puts it."""

RIGID_TOLERANCE_MM = 0.15
"""The same for the qform, beyond `CORNER_TOLERANCE_MM` only where the headers round their cosines to three decimals,
which makes the stack's axes oblique to each other: a shear that a qform cannot hold."""


def affine(volumes: Sequence[Sequence[Frame]], step: Array) -> Array:
    """Affine ``(4, 4)`` from ``(column, row, slice)`` to RAS mm; cosines and pixel spacing are means over the frames.

    Parameters
    ----------
    volumes
        Volumes of equal positions, slices sorted along their normal.
    step
        From slice to slice, LPS mm.
    """
    places = [frame.geometry for volume in volumes for frame in volume if frame.geometry is not None]
    first = places[0]
    if all(place.orientation == first.orientation and place.spacing == first.spacing for place in places):
        return affine_from_dicom(first.orientation, first.position, first.spacing, step)
    orientation = np.mean([place.orientation for place in places], axis=0)
    pixel_spacing = np.mean([place.spacing for place in places], axis=0)
    return affine_from_dicom(orientation, first.position, pixel_spacing, step)


def rigid(affine: Array, shape: Sequence[int]) -> Array:
    """The nearest affine of the same voxel sizes without shear, turned about the volume's centre."""
    sizes = spacing(affine)
    left, _, right = np.linalg.svd(affine[:3, :3] / sizes)
    turned = np.eye(4)
    turned[:3, :3] = left @ right * sizes
    middle = (np.asarray(shape[:3]) - 1) / 2
    turned[:3, 3] = to_world(affine, middle) - turned[:3, :3] @ middle
    return turned


def corner_errors(affine: Array, volume: Sequence[Frame]) -> Array:
    """How far the affine puts each corner of each slice from where the slice's own header does: mm, ``(slices, 4)``."""
    pixels = volume[0].pixels
    columns, rows = pixels.columns - 1, pixels.rows - 1
    corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], dtype=np.float64)
    slices = np.arange(len(volume), dtype=np.float64)
    voxels = np.concatenate([np.tile(corners, (len(volume), 1)), np.repeat(slices, 4)[:, None]], axis=1)
    return np.linalg.norm(to_world(affine, voxels) - _header_corners(volume, corners), axis=1).reshape(-1, 4)


def worst_corner(affine: Array, volumes: Sequence[Sequence[Frame]]) -> tuple[float, Frame]:
    """The largest error of any corner, mm, and the slice that it is in."""
    errors = np.stack([corner_errors(affine, volume).max(axis=1) for volume in volumes])
    t, k = np.unravel_index(int(np.argmax(errors)), errors.shape)
    return float(errors[t, k]), volumes[int(t)][int(k)]


def _header_corners(volume: Sequence[Frame], corners: Array) -> Array:
    """RAS mm of the corner pixels ``(column, row)`` of every slice, from its own header; ``(slices × 4, 3)``."""
    places = [frame.geometry for frame in volume if frame.geometry is not None]
    cosines = np.array([place.orientation for place in places]).reshape(-1, 1, 2, 3)
    between_rows, between_columns = np.array([place.spacing for place in places]).T.reshape(2, -1, 1, 1)
    across = cosines[:, :, 0] * between_columns * corners[None, :, :1]
    down = cosines[:, :, 1] * between_rows * corners[None, :, 1:]
    lps = np.array([place.position for place in places])[:, None] + across + down
    return (lps * (-1, -1, 1)).reshape(-1, 3)
