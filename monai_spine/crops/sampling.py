"""The one resampling of a crop, from a stack's voxels to the crop's pixels.

Last step of a crop. Augmentation is part of the grid of samples, so no voxel is interpolated twice. The paths differ in
speed only: `_native` and `_separable` sample whole slices in two dimensions, `_full` handles tilted grids.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from monai_spine.crops.bilinear import Floats, bilinear
from monai_spine.crops.pose import CropGrid
from monai_spine.crops.stack import Stack
from monai_spine.crops.view import Interpolation
from monai_spine.data.coverage import PLANE_LIMIT_MM
from monai_spine.geometry import Array

_TILT_TOLERANCE = 0.01
"""Voxels: largest tilt of a crop against the slices, at its edge, with which it is still sampled slice by slice."""
_SAME_PLACE = 1e-3
"""Voxels: largest difference of the planes' middles with which all planes are still sampled at the same points."""
_COARSER = 1.25
"""Stack pixels per crop pixel above which several samples are averaged for each crop pixel, against aliasing."""


@dataclass(frozen=True)
class Slices:
    """The slices of a stack at a crop's planes."""

    position: Array
    """``(slices,)``: index of each plane's middle along the stack's third axis, with fractions."""
    nearest: npt.NDArray[np.int64]
    """``(slices,)``: the slice whose plane is nearest."""
    distance: Array
    """``(slices,)``: millimetres to that slice."""
    feet: Array
    """``(slices, 2)``: the planes' middles projected onto that slice, in voxels."""
    covered: npt.NDArray[np.bool_]
    """``(slices,)``: whether that slice is near enough and the projected middle inside the image."""


def find_slices(stack: Stack, grid: CropGrid) -> Slices:
    """The slices at a crop's planes, by the rule of `monai_spine.data.coverage.coverage_of` for each plane's middle.

    Of two slices that are equally far from a plane, the one nearer to the crop's middle is taken.
    """
    lattice = stack.grid
    offset = grid.centres - stack.affine[:3, 3]
    gap = float(stack.affine[:3, 2] @ lattice.normal)
    position = offset @ lattice.normal / gap
    # Ties would be broken by the direction of counting, and a flipped study would then show other slices.
    towards_middle = position + (position.mean() - position) * 1e-6
    nearest = np.clip(np.rint(towards_middle), 0, stack.shape[2] - 1).astype(np.int64)
    beside = (position - nearest) * gap
    feet = ((offset - beside[:, None] * lattice.normal) @ lattice.from_world.T)[:, :2]
    inside = ((feet >= -0.5) & (feet <= np.array(stack.shape[:2]) - 0.5)).all(axis=1)
    distance = np.abs(beside)
    return Slices(position, nearest, distance, feet, inside & (distance <= PLANE_LIMIT_MM))


def sample(
    stack: Stack, grid: CropGrid, interpolation: Interpolation = Interpolation.NATIVE
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Pixels of a crop, and which of its planes the stack covers.

    Parameters
    ----------
    stack
        Its axes along the crop's columns, rows and slices, as nearly as they can (`Stack.turned`).
    grid
        The positions of the samples.
    interpolation
        ``native``: each plane is rotated about its middle into the nearest slice, by the smallest rotation, and sampled
        there. ``linear``: samples are taken at the grid's positions; the outer slices are continued outwards for 5 mm.

    Returns
    -------
    float32 ``(slices, rows, columns)`` from 0 to 1, with 0 outside the image and in planes that are not covered; and
    bool ``(slices,)``.
    """
    slices = find_slices(stack, grid)
    if not slices.covered.any():
        return np.zeros(grid.shape, dtype=np.float32), slices.covered
    if interpolation is Interpolation.NATIVE:
        pixels = _native(stack, grid, slices)
    else:
        matrix = stack.grid.from_world @ (grid.directions * grid.step)
        tilt = np.abs(matrix[2, :2]) @ _half_size(grid) + np.abs(matrix[:2, 2]).max() * grid.shape[0] / 2
        # The fast path gives the same pixels where the crop is not tilted against the slices.
        flat = tilt < _TILT_TOLERANCE
        pixels = _separable(stack, grid, matrix, slices) if flat else _full(stack, grid, matrix)
    if not slices.covered.all():
        pixels[~slices.covered] = 0.0
    return pixels, slices.covered


def _half_size(grid: CropGrid) -> Array:
    """Columns and rows from a plane's middle to its outermost samples."""
    return (np.array(grid.shape[:0:-1]) - 1) / 2


def _native(stack: Stack, grid: CropGrid, slices: Slices) -> Floats:
    into_slice = smallest_rotation(grid.directions[:, 2], stack.grid.normal)
    in_plane = into_slice @ grid.directions[:, :2] * grid.step[:2]
    return _planes(stack, grid, (stack.grid.from_world @ in_plane)[:2], slices.nearest, slices.feet)


def smallest_rotation(start: Array, end: Array) -> Array:
    """``(3, 3)``: the smallest rotation of a unit vector onto the line of another (Rodrigues' formula)."""
    # A normal has no sign: towards the nearer end the angle is at most 90 degrees, and 1 + cos below stays positive.
    end = end if start @ end >= 0 else -end
    x, y, z = np.cross(start, end)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + start @ end), dtype=np.float64)


def _separable(stack: Stack, grid: CropGrid, matrix: Array, slices: Slices) -> Floats:
    """Each needed slice sampled in its plane, then linear weights along the slices."""
    position = np.clip(slices.position, 0, stack.shape[2] - 1)
    first, last = int(np.floor(position.min())), int(np.ceil(position.max()))
    used = np.arange(first, last + 1)
    middle = stack.grid.from_world @ (grid.centre - stack.affine[:3, 3])
    planes = _planes(stack, grid, matrix[:2, :2], used, np.repeat(middle[None, :2], len(used), axis=0))
    weights = np.maximum(0.0, 1.0 - np.abs(position[:, None] - used))
    mixed: Floats = weights.astype(np.float32) @ planes.reshape(len(used), -1)
    return mixed.reshape(grid.shape)


def _planes(stack: Stack, grid: CropGrid, matrix: Array, chosen: npt.NDArray[np.int64], middles: Array) -> Floats:
    """Bilinear samples ``(n, rows, columns)`` of ``n`` slices.

    ``matrix`` ``(2, 2)`` maps columns and rows of the crop to voxels, ``middles`` ``(n, 2)`` are the planes' middles in
    voxels.
    """
    rows, columns = grid.shape[1:]
    # Only the block under the crop is read from disk.
    half = np.abs(matrix) @ (_half_size(grid) + 0.5)
    low = np.maximum(np.floor(middles.min(axis=0) - half), 0).astype(int)
    high = np.minimum(np.ceil(middles.max(axis=0) + half) + 1, stack.shape[:2]).astype(int)
    if (high <= low).any():
        return np.zeros((len(chosen), rows, columns), dtype=np.float32)
    first = int(chosen.min())
    block = stack.block((low[0], low[1], first), (high[0], high[1], int(chosen.max()) + 1))
    fine = _oversampling(stack, grid)
    # Planes that meet the slices at the same points share one set of points.
    alike = np.ptp(middles, axis=0).max() < _SAME_PLACE
    starts = (middles[:1] if alike else middles) - low
    points = _points(matrix / fine, starts, (rows * fine, columns * fine), high - low)
    return _coarse(bilinear(block[chosen - first], points), fine)


def _full(stack: Stack, grid: CropGrid, matrix: Array) -> Floats:
    """Trilinear samples, made of bilinear ones in the two slices around each sample.

    Slices lie one below the other in one picture, with a row of zeros between them, since a three-dimensional
    `grid_sample` has no vectorised kernel on CPUs and takes several times as long.
    """
    fine = _oversampling(stack, grid)
    slices, rows, columns = grid.shape
    matrix = matrix / np.array([fine, fine, 1])
    size = np.array([columns * fine, rows * fine, slices])
    middle = stack.grid.from_world @ (grid.centre - stack.affine[:3, 3])
    half = np.abs(matrix) @ ((size - 1) / 2)
    depth = stack.shape[2]
    low = np.clip(np.floor(middle - half), 0, [*stack.shape[:2], depth - 1]).astype(int)
    high = np.clip(np.ceil(middle + half) + 1, [0, 0, low[2] + 1], stack.shape).astype(int)
    if (high <= low).any():
        return np.zeros(grid.shape, dtype=np.float32)
    width, height, count = (int(n) for n in high - low)
    picture = np.zeros((count, height + 1, width), dtype=np.float32)
    picture[:, :height] = stack.block((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    middles = middle + np.outer(np.arange(slices) - (slices - 1) / 2, matrix[:, 2]) - low
    tall = np.array([width, count * (height + 1)])
    points = _points(matrix[:2, :2], middles[:, :2], (rows * fine, columns * fine), tall)
    depths = _steps(rows * fine)[:, None] * float(matrix[2, 1]) + _steps(columns * fine) * float(matrix[2, 0])
    z = middles[:, 2].astype(np.float32)[:, None, None] + depths
    if (middle - half)[1] < -1 or (middle + half)[1] > stack.shape[1]:
        # Above and below the image samples stay in the row of zeros, and out of the neighbouring slice.
        across = points[..., 1]
        np.clip(across, *(2 * (row + 0.5) / tall[1] - 1 for row in (-1, height)), out=across)
    # Beyond the outer slices these are continued up to the limit of coverage, and zero after that.
    limit = PLANE_LIMIT_MM / abs(float(stack.affine[:3, 2] @ stack.grid.normal))
    beyond = None
    if (middle - half)[2] < -limit or (middle + half)[2] > depth - 1 + limit:
        beyond = (z < -limit - low[2]) | (z > depth - 1 - low[2] + limit)
    np.clip(z, 0, count - 1, out=z)
    lower = np.minimum(np.floor(z), max(count - 2, 0))
    sampled = _between(picture, points, lower, z - lower)
    if beyond is not None:
        sampled[beyond] = 0.0
    return _coarse(sampled, fine)


def _between(picture: Floats, points: Floats, lower: Floats, share: Floats) -> Floats:
    """Interpolation between slice ``lower`` and the next one, with weight ``share`` on the next.

    ``points`` are positions in the first slice; they are moved down to the right slice in place.
    """
    count, _, width = picture.shape
    image = picture.reshape(1, -1, width)
    flat = points.reshape(1, -1, *points.shape[2:])
    points[..., 1] += lower * np.float32(2 / count)
    below = bilinear(image, flat).reshape(share.shape)
    if count == 1:
        return below
    points[..., 1] += np.float32(2 / count)
    above = bilinear(image, flat).reshape(share.shape)
    above -= below
    above *= share
    above += below
    return above


def _oversampling(stack: Stack, grid: CropGrid) -> int:
    """Number of samples along each side of a crop pixel."""
    ratio = max(grid.step[:2]) / float(stack.grid.pixel.min())
    return 1 if ratio <= _COARSER else int(np.ceil(ratio - 0.25))


def _coarse(sampled: Floats, fine: int) -> Floats:
    """Means over ``fine`` × ``fine`` samples."""
    if fine == 1:
        return sampled
    total = sampled[:, ::fine, ::fine].copy()
    for n in range(1, fine * fine):  # a mean over short axes takes NumPy ten times as long
        total += sampled[:, n // fine :: fine, n % fine :: fine]
    total /= np.float32(fine**2)
    return total


def _points(matrix: Array, middles: Array, size: tuple[int, int], counts: npt.NDArray[Any]) -> Floats:
    """Points ``(n, rows, columns, 2)`` for `bilinear`, where -1 and 1 are the outer edges of the outer voxels.

    Parameters
    ----------
    matrix
        ``(2, 2)`` from columns and rows to voxels.
    middles
        ``(n, 2)``: the planes' middles in voxels.
    size
        Rows and columns of samples.
    counts
        Number of voxels of the image along both axes.
    """
    rows, columns = size
    scale = 2.0 / counts
    along_columns, along_rows = ((matrix[:, axis] * scale).astype(np.float32) for axis in (0, 1))
    plane = (_steps(rows)[:, None] * along_rows)[:, None] + _steps(columns)[:, None] * along_columns
    starts = ((middles + 0.5) * scale - 1.0).astype(np.float32)
    # One row of numbers for each picture and row: NumPy adds short last axes slowly.
    repeated = np.tile(starts, columns)
    return (repeated[:, None] + plane.reshape(rows, -1)).reshape(len(middles), rows, columns, 2)


@lru_cache(maxsize=64)
def _steps(count: int) -> Floats:
    """Indices counted from the middle."""
    return np.arange(count, dtype=np.float32) - np.float32((count - 1) / 2)
