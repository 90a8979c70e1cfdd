"""Patient space: affines, planes and points. Everything that has a place stands on this module.

World coordinates are RAS millimetres, as in NIfTI: +x towards the patient's right, +y anterior, +z superior. DICOM
headers use LPS, which differs in the sign of x and y; `affine_from_dicom` and `dicom_pixel_to_world` convert, and
nothing else does.

Voxel coordinates are ``(i, j, k)`` of the stored array: ``i`` counts columns (DICOM's x), ``j`` rows (DICOM's y) and
``k`` slices; integers are voxel centres. An affine is a ``(4, 4)`` float64 matrix from voxels to world.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LPS_TO_RAS: Array = np.diag([-1.0, -1.0, 1.0])


class Plane(str, Enum):
    """Orientation of a stack's slices, named after the world axis closest to their normal."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"


def affine_from_dicom(
    orientation: npt.ArrayLike, position: npt.ArrayLike, pixel_spacing: npt.ArrayLike, step: npt.ArrayLike
) -> Array:
    """Affine of a stack of parallel slices from the values of their DICOM headers.

    Parameters
    ----------
    orientation
        ImageOrientationPatient: six direction cosines in LPS, along a row (columns rising) then along a column.
    position
        ImagePositionPatient of the first slice: LPS mm, centre of its first pixel.
    pixel_spacing
        PixelSpacing: mm between rows, then mm between columns.
    step
        Difference of the positions of neighbouring slices: LPS mm.

    Returns
    -------
    Affine from ``(column, row, slice)`` to RAS mm.

    Examples
    --------
    >>> affine_from_dicom([0, 1, 0, 0, 0, -1], [-10, -90, 120], [0.5, 0.5], [4, 0, 0])[:3, 3]
    array([ 10.,  90., 120.])
    """
    cosines = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    # PixelSpacing counts the distance between rows first, the cosines the direction along a row: they cross over.
    between_rows, between_columns = np.asarray(pixel_spacing, dtype=np.float64)
    affine = np.eye(4)
    affine[:3, 0] = LPS_TO_RAS @ cosines[0] * between_columns
    affine[:3, 1] = LPS_TO_RAS @ cosines[1] * between_rows
    affine[:3, 2] = LPS_TO_RAS @ np.asarray(step, dtype=np.float64)
    affine[:3, 3] = LPS_TO_RAS @ np.asarray(position, dtype=np.float64)
    return affine


def dicom_pixel_to_world(
    orientation: npt.ArrayLike, position: npt.ArrayLike, pixel_spacing: npt.ArrayLike, pixels: npt.ArrayLike
) -> Array:
    """World positions (RAS mm), ``(..., 3)``, of pixels ``(x, y)`` = (column, row) of one DICOM slice, ``(..., 2)``."""
    pixels = np.asarray(pixels, dtype=np.float64)
    affine = affine_from_dicom(orientation, position, pixel_spacing, np.zeros(3))
    return pixels @ affine[:3, :2].T + affine[:3, 3]


def to_world(affine: Array, voxels: npt.ArrayLike) -> Array:
    """Voxel coordinates ``(..., 3)`` to RAS mm."""
    return np.asarray(voxels, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3]


def to_voxel(affine: Array, points: npt.ArrayLike) -> Array:
    """RAS mm ``(..., 3)`` to voxel coordinates with fractions.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the affine is singular.
    """
    offset = np.asarray(points, dtype=np.float64) - affine[:3, 3]
    # One system for all points: a system for each would factorise the matrix as often.
    voxels = np.linalg.solve(affine[:3, :3], offset.reshape(-1, 3).T).T
    return np.asarray(voxels.reshape(offset.shape), dtype=np.float64)


def spacing(affine: Array) -> Array:
    """Millimetres between neighbouring voxels along each of the three axes."""
    lengths: Array = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return lengths


def slice_normal(affine: Array) -> Array:
    """Unit normal of the slices (the plane of the first two axes), pointing from the first slice to the last."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal = np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)
    return normal if normal @ affine[:3, 2] >= 0 else -normal


def plane_of_normal(normal: npt.ArrayLike) -> Plane:
    """The plane whose axis is closest to a normal. The sign does not matter, so RAS and LPS give the same."""
    axis = int(np.argmax(np.abs(np.asarray(normal, dtype=np.float64))))
    return (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)[axis]


def plane_of(affine: Array) -> Plane:
    """The plane to which a stack's slices are closest."""
    return plane_of_normal(slice_normal(affine))


def obliquity(affine: Array) -> float:
    """Degrees between the slices' normal and the world axis closest to it."""
    # Rounding can make the largest component of a unit vector exceed 1, where arccos is not defined.
    return float(np.degrees(np.arccos(np.clip(np.abs(slice_normal(affine)).max(), 0.0, 1.0))))


def shear(affine: Array) -> float:
    """Cosine between the two axes that miss a right angle by most: 0 for an orthogonal stack."""
    axes = affine[:3, :3] / spacing(affine)
    return float(np.abs(axes.T @ axes - np.diag(np.diag(axes.T @ axes))).max())


def slice_corners(affine: Array, shape: tuple[int, ...], k: int) -> Array:
    """World positions (RAS mm) of the centres of slice ``k``'s four corner voxels, shape ``(4, 3)``."""
    i, j = shape[0] - 1, shape[1] - 1
    return to_world(affine, [[0, 0, k], [i, 0, k], [0, j, k], [i, j, k]])


def centre(affine: Array, shape: tuple[int, ...]) -> Array:
    """World position (RAS mm) of the middle of a volume."""
    return to_world(affine, (np.asarray(shape[:3], dtype=np.float64) - 1) / 2)


def contains(
    affine: Array, shape: tuple[int, ...], points: npt.ArrayLike, margin: float = 0.0
) -> npt.NDArray[np.bool_]:
    """Which RAS points ``(..., 3)`` lie inside a volume, or at most ``margin`` mm beyond it along its axes.

    The volume ends half a voxel beyond the outer voxel centres.
    """
    voxels = to_voxel(affine, points)
    upper, more = np.asarray(shape[:3]) - 1, 0.5 + margin / spacing(affine)
    return np.all((voxels >= -more) & (voxels <= upper + more), axis=-1)


def plane_distance(affine: Array, shape: tuple[int, ...], points: npt.ArrayLike) -> Array:
    """Millimetres from each RAS point ``(..., 3)`` to the nearest slice plane of a stack, measured along the normal."""
    normal = slice_normal(affine)
    first = (np.asarray(points, dtype=np.float64) - affine[:3, 3]) @ normal
    gap = affine[:3, 2] @ normal
    nearest = np.clip(np.round(first / gap), 0, shape[2] - 1)
    return np.abs(first - nearest * gap)


def grid_affine(middle: npt.ArrayLike, size: npt.ArrayLike, step: npt.ArrayLike) -> Array:
    """Affine of a grid along the world axes with ``size`` voxels, ``step`` mm apart, around ``middle`` (RAS mm)."""
    step = np.asarray(step, dtype=np.float64)
    affine = np.diag([*step, 1.0])
    affine[:3, 3] = np.asarray(middle, dtype=np.float64) - step * (np.asarray(size, dtype=np.float64) - 1) / 2
    return affine
