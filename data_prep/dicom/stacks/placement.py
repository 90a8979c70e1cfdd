"""Where a volume lies: its affine from the headers of all slices, and how far a corner is from its own header.

A NIfTI file holds the affine twice: the sform as it is, and the qform, which cannot hold shear. Programs differ in
which one they read (ITK takes the qform if the sform has any shear), so both are made and checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from monai_spine.geometry import affine_from_dicom, spacing, to_world

Array = npt.NDArray[np.float64]

CORNER_TOLERANCE_MM = 0.05
"""How far the sform may put a slice's corner from where the slice's own DICOM header puts it."""

RIGID_TOLERANCE_MM = 0.15
"""The same for the qform. It exceeds `CORNER_TOLERANCE_MM` only where headers round their cosines to three decimals:
the axes are then not quite at right angles, which is a shear that a qform cannot hold."""


def affine(volumes: Sequence[Sequence[Frame]], step: Array) -> Array:
    """Affine ``(4, 4)`` from ``(column, row, slice)`` to RAS mm. Cosines and pixel spacing are means over the frames.

    Parameters
    ----------
    volumes
        Volumes of equal positions, slices sorted along their normal.
    step
        From slice to slice, LPS mm.
    """
    places = [frame.geometry for volume in volumes for frame in volume if frame.geometry is not None]
    first = places[0]
    # a mean of equal numbers may differ from them in the last bit, so equal ones are taken as they are
    if all(place.orientation == first.orientation and place.spacing == first.spacing for place in places):
        return affine_from_dicom(first.orientation, first.position, first.spacing, step)
    orientation = np.mean([place.orientation for place in places], axis=0)
    pixel_spacing = np.mean([place.spacing for place in places], axis=0)
    return affine_from_dicom(orientation, first.position, pixel_spacing, step)


def rigid(affine: Array, shape: Sequence[int]) -> Array:
    """The nearest affine without shear: equal voxel sizes, rotated about the volume's centre."""
    sizes = spacing(affine)
    left, _, right = np.linalg.svd(affine[:3, :3] / sizes)
    rotated = np.eye(4)
    rotated[:3, :3] = left @ right * sizes
    centre = (np.asarray(shape[:3]) - 1) / 2
    rotated[:3, 3] = to_world(affine, centre) - rotated[:3, :3] @ centre
    return rotated


def corner_errors(affine: Array, volume: Sequence[Frame]) -> Array:
    """Distance of each slice's corners by the affine from those by the slice's own header: mm, ``(slices, 4)``."""
    pixels = volume[0].pixels
    columns, rows = pixels.columns - 1, pixels.rows - 1
    corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], dtype=np.float64)
    slices = np.arange(len(volume), dtype=np.float64)
    voxels = np.concatenate([np.tile(corners, (len(volume), 1)), np.repeat(slices, 4)[:, None]], axis=1)
    return np.linalg.norm(to_world(affine, voxels) - _header_corners(volume, corners), axis=1).reshape(-1, 4)


def worst_corner(affine: Array, volumes: Sequence[Sequence[Frame]]) -> tuple[float, Frame]:
    """The largest error of any corner, mm, and the slice that has it."""
    errors = np.stack([corner_errors(affine, volume).max(axis=1) for volume in volumes])
    t, k = np.unravel_index(int(np.argmax(errors)), errors.shape)
    return float(errors[t, k]), volumes[int(t)][int(k)]


def _header_corners(volume: Sequence[Frame], corners: Array) -> Array:
    """RAS mm of the corner pixels ``(column, row)`` of every slice, by its own header; ``(slices × 4, 3)``."""
    places = [frame.geometry for frame in volume if frame.geometry is not None]
    cosines = np.array([place.orientation for place in places]).reshape(-1, 1, 2, 3)
    between_rows, between_columns = np.array([place.spacing for place in places]).T.reshape(2, -1, 1, 1)
    across = cosines[:, :, 0] * between_columns * corners[None, :, :1]
    down = cosines[:, :, 1] * between_rows * corners[None, :, 1:]
    lps = np.array([place.position for place in places])[:, None] + across + down
    return (lps * (-1, -1, 1)).reshape(-1, 3)
