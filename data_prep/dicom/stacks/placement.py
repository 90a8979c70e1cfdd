"""Where a volume lies: its affine from the headers of all slices, and how far a corner is from its own header.

A NIfTI file holds the affine twice: the sform as it is, and the qform, which cannot hold shear. Programs differ in
which one they read (ITK takes the qform if the sform has any shear), so both are made and checked.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from nibabel.quaternions import mat2quat, quat2mat

from data_prep.dicom.frames import Frame
from monai_spine.geometry import affine_from_dicom, spacing, to_world

Array = npt.NDArray[np.float64]

CORNER_TOLERANCE_MM = 0.05
"""How far the sform may put a slice's corner from where the slice's own DICOM header puts it."""

RIGID_TOLERANCE_MM = 0.15
"""The same for the qform. It exceeds `CORNER_TOLERANCE_MM` only where headers round their cosines to three decimals:
the axes are then not quite at right angles, which is a shear that a qform cannot hold."""

LEAST_SQUARES = (3 * float(np.finfo(np.float32).eps), 1e-7)
"""The first number of a quaternion is not stored. nibabel and NIfTI's own library (which ITK and others have) take its
square for 0 if it is smaller than this."""


def affine(volumes: Sequence[Sequence[Frame]], step: Array, origin: npt.ArrayLike | None = None) -> Array:
    """Affine ``(4, 4)`` from ``(column, row, slice)`` to RAS mm. Cosines and pixel spacing are means over the frames.

    Parameters
    ----------
    volumes
        Volumes of equal positions, slices sorted along their normal.
    step
        From slice to slice, LPS mm.
    origin
        Where the first slice is, LPS mm, if not at its own position.
    """
    places = [frame.geometry for volume in volumes for frame in volume if frame.geometry is not None]
    first = places[0]
    start = first.position if origin is None else origin
    # a mean of equal numbers may differ from them in the last bit, so equal ones are taken as they are
    if all(place.orientation == first.orientation and place.spacing == first.spacing for place in places):
        return affine_from_dicom(first.orientation, start, first.spacing, step)
    orientation = np.mean([place.orientation for place in places], axis=0)
    pixel_spacing = np.mean([place.spacing for place in places], axis=0)
    return affine_from_dicom(orientation, start, pixel_spacing, step)


def rigid(affine: Array, shape: Sequence[int]) -> Array:
    """The nearest affine without shear: equal voxel sizes, rotated about the volume's centre."""
    sizes = spacing(affine)
    left, _, right = np.linalg.svd(affine[:3, :3] / sizes)
    return about_centre(affine, shape, left @ right * sizes)


def quaternion(rotation: Array) -> npt.NDArray[np.float32]:
    """The three numbers of a rotation ``(3, 3)`` that a NIfTI file stores, such that readers find it again.

    The first number of the quaternion is found from the other three. Near a turn by 180°, as of most axial stacks, it
    is nearly 0. Rounding the others to 32 bits then moved corners by up to 0.35 mm. So of the neighbouring 32-bit
    numbers those are taken of which the readers make the rotation that is nearest.
    """
    exact = mat2quat(rotation)  # its first number is not negative
    nearest = exact[1:].astype(np.float32)
    if exact[0] > 0.1:  # far from 180°, rounding does no harm
        return nearest
    least = np.sqrt(LEAST_SQUARES[0]) * (1 + 1e-6)
    candidates = [one for first in (exact[0], 0.0, least) for one in _neighbours(nearest, float(first))]
    candidates = [one for one in candidates if _square_of_first(one) > -1e-7]
    return min(candidates, key=lambda one: max(np.abs(read - rotation).max() for read in rotations_read(one)))


def _square_of_first(stored: npt.NDArray[np.float32]) -> float:
    return 1.0 - float(np.square(stored, dtype=np.float64).sum())


def _neighbours(stored: npt.NDArray[np.float32], first: float) -> Iterator[npt.NDArray[np.float32]]:
    """The two largest numbers moved by up to two steps of 32-bit floats, and the third such that ``first`` results."""
    small, middle, large = np.argsort(np.abs(stored))
    for steps in itertools.product(range(-2, 3), repeat=2):
        moved = stored.copy()
        for axis, count in zip((large, middle), steps, strict=True):
            for _ in range(abs(count)):
                moved[axis] = np.nextafter(moved[axis], np.float32(np.copysign(2, count)))
        yield moved.copy()
        rest = 1.0 - first**2 - float(moved[large]) ** 2 - float(moved[middle]) ** 2
        if rest > 0:
            moved[small] = np.copysign(np.float32(np.sqrt(rest)), stored[small])
            yield moved


def rotations_read(stored: npt.NDArray[np.float32]) -> list[Array]:
    """The rotations that nibabel, and NIfTI's own library, make of the three stored numbers."""
    square, numbers = _square_of_first(stored), stored.astype(np.float64)
    firsts = [np.sqrt(square) if square >= least else 0.0 for least in LEAST_SQUARES]
    return [quat2mat([first, *numbers]) for first in firsts]  # of a unit length, whatever the numbers are


def qform(affine: Array, shape: Sequence[int]) -> Array:
    """The qform ``(4, 4)`` that a reader finds in the file: `rigid` with a rotation that 32-bit numbers can hold.

    Of the two readers of `rotations_read`, it is the one that is further off.
    """
    nearest = rigid(affine, shape)
    sizes = spacing(nearest)
    turn = nearest[:3, :3] / sizes
    hand = np.array([1.0, 1.0, np.sign(np.linalg.det(turn))])
    read = max(rotations_read(quaternion(turn * hand)), key=lambda one: float(np.abs(one - turn * hand).max()))
    return about_centre(affine, shape, read * hand * sizes)


def about_centre(affine: Array, shape: Sequence[int], axes: Array) -> Array:
    """An affine with these axes ``(3, 3)`` that leaves the volume's centre where ``affine`` puts it."""
    made = np.eye(4)
    made[:3, :3] = axes
    centre = (np.asarray(shape[:3]) - 1) / 2
    made[:3, 3] = to_world(affine, centre) - axes @ centre
    return made


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
