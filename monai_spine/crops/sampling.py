"""The one resampling of a crop, from a stack's voxels to the crop's pixels.

Last step of a crop. Augmentation is part of the grid of samples, so no voxel is interpolated twice. The paths differ in
speed only: `_native` and `_separable` sample whole slices in two dimensions, `_full` handles tilted grids.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import avg_pool2d, grid_sample

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
) -> tuple[torch.Tensor, npt.NDArray[np.bool_]]:
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
        return torch.zeros(grid.shape), slices.covered
    if interpolation is Interpolation.NATIVE:
        pixels = _native(stack, grid, slices)
    else:
        matrix = stack.grid.from_world @ (grid.directions * grid.step)
        tilt = np.abs(matrix[2, :2]) @ _half_size(grid) + np.abs(matrix[:2, 2]).max() * grid.shape[0] / 2
        # The fast path gives the same pixels where the crop is not tilted against the slices.
        flat = tilt < _TILT_TOLERANCE
        pixels = _separable(stack, grid, matrix, slices) if flat else _full(stack, grid, matrix)
    if not slices.covered.all():
        pixels[torch.from_numpy(~slices.covered)] = 0.0
    return pixels, slices.covered


def _half_size(grid: CropGrid) -> Array:
    """Columns and rows from a plane's middle to its outermost samples."""
    return (np.array(grid.shape[:0:-1]) - 1) / 2


def _native(stack: Stack, grid: CropGrid, slices: Slices) -> torch.Tensor:
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


def _separable(stack: Stack, grid: CropGrid, matrix: Array, slices: Slices) -> torch.Tensor:
    """Each needed slice sampled in its plane, then linear weights along the slices."""
    position = np.clip(slices.position, 0, stack.shape[2] - 1)
    first, last = int(np.floor(position.min())), int(np.ceil(position.max()))
    used = np.arange(first, last + 1)
    middle = stack.grid.from_world @ (grid.centre - stack.affine[:3, 3])
    planes = _planes(stack, grid, matrix[:2, :2], used, np.repeat(middle[None, :2], len(used), axis=0))
    weights = np.maximum(0.0, 1.0 - np.abs(position[:, None] - used))
    mixed = torch.from_numpy(weights).float() @ planes.reshape(len(used), -1)
    return mixed.reshape(grid.shape)


def _planes(stack: Stack, grid: CropGrid, matrix: Array, chosen: npt.NDArray[np.int64], middles: Array) -> torch.Tensor:
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
        return torch.zeros(len(chosen), rows, columns)
    first = int(chosen.min())
    block = torch.from_numpy(stack.block((low[0], low[1], first), (high[0], high[1], int(chosen.max()) + 1)))
    fine = _oversampling(stack, grid)
    # Planes that meet the slices at the same points share one set of points.
    alike = np.ptp(middles, axis=0).max() < _SAME_PLACE
    starts = (middles[:1] if alike else middles) - low
    points = _points(matrix / fine, starts, (rows * fine, columns * fine), high - low)
    index = torch.from_numpy(chosen - first)
    sampled = _bilinear(block[None], points)[0][index] if alike else _bilinear(block[index][:, None], points)[:, 0]
    return _coarse(sampled, fine)


def _full(stack: Stack, grid: CropGrid, matrix: Array) -> torch.Tensor:
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
        return torch.zeros(grid.shape)
    width, height, count = (int(n) for n in high - low)
    picture = torch.zeros(count, height + 1, width)
    block = stack.block((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    picture[:, :height] = torch.from_numpy(block)

    middles = middle + np.outer(np.arange(slices) - (slices - 1) / 2, matrix[:, 2]) - low
    tall = np.array([width, count * (height + 1)])
    points = _points(matrix[:2, :2], middles[:, :2], (rows * fine, columns * fine), tall)
    depths = _steps(rows * fine)[:, None] * float(matrix[2, 1]) + _steps(columns * fine) * float(matrix[2, 0])
    z = torch.from_numpy(middles[:, 2]).float()[:, None, None] + depths
    if (middle - half)[1] < -1 or (middle + half)[1] > stack.shape[1]:
        # Above and below the image samples stay in the row of zeros, and out of the neighbouring slice.
        points[..., 1].clamp_(*(2 * (row + 0.5) / tall[1] - 1 for row in (-1, height)))
    # Beyond the outer slices these are continued up to the limit of coverage, and zero after that.
    limit = PLANE_LIMIT_MM / abs(float(stack.affine[:3, 2] @ stack.grid.normal))
    beyond = None
    if (middle - half)[2] < -limit or (middle + half)[2] > depth - 1 + limit:
        beyond = (z < -limit - low[2]) | (z > depth - 1 - low[2] + limit)
    z.clamp_(0, count - 1)
    lower = z.floor().clamp_(max=max(count - 2, 0))
    sampled = _between(picture, points, lower, z.sub_(lower))
    if beyond is not None:
        sampled[beyond] = 0.0
    return _coarse(sampled, fine)


def _between(picture: torch.Tensor, points: torch.Tensor, lower: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Interpolation between slice ``lower`` and the next one, with weight ``share`` on the next.

    ``points`` are positions in the first slice; they are moved down to the right slice in place.
    """
    count, _, width = picture.shape
    image = picture.reshape(1, 1, -1, width)
    flat = points.flatten(0, 1)[None]
    points[..., 1].add_(lower, alpha=2 / count)
    below = _bilinear(image, flat)
    if count == 1:
        return below.reshape(share.shape)
    points[..., 1].add_(2 / count)
    return torch.lerp(below.reshape(share.shape), _bilinear(image, flat).reshape(share.shape), share)


def _oversampling(stack: Stack, grid: CropGrid) -> int:
    """Number of samples along each side of a crop pixel."""
    ratio = max(grid.step[:2]) / float(stack.grid.pixel.min())
    return 1 if ratio <= _COARSER else int(np.ceil(ratio - 0.25))


def _coarse(sampled: torch.Tensor, fine: int) -> torch.Tensor:
    """Means over ``fine`` × ``fine`` samples."""
    return avg_pool2d(sampled[None], fine)[0] if fine > 1 else sampled


def _bilinear(image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return grid_sample(image, points, mode="bilinear", padding_mode="zeros", align_corners=False)


def _points(matrix: Array, middles: Array, size: tuple[int, int], counts: npt.NDArray[Any]) -> torch.Tensor:
    """Points ``(n, rows, columns, 2)`` for `grid_sample`, where -1 and 1 are the outer edges of the outer voxels.

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
    along_columns, along_rows = (torch.from_numpy(matrix[:, axis] * scale).float() for axis in (0, 1))
    plane = (_steps(rows)[:, None] * along_rows)[:, None] + _steps(columns)[:, None] * along_columns
    starts = torch.from_numpy((middles + 0.5) * scale - 1.0).float()
    repeated = starts[:, None].expand(-1, columns, -1).flatten(1)
    return (repeated[:, None] + plane.flatten(1)).reshape(len(middles), rows, columns, 2)


@lru_cache(maxsize=64)
def _steps(count: int) -> torch.Tensor:
    """Indices counted from the middle."""
    return torch.arange(count, dtype=torch.float32) - (count - 1) / 2
