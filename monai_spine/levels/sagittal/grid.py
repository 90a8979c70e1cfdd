"""The grid of the level localizer: a sagittal volume, however stored, in the form that the network takes.

First step of the level localizer, in training, in the bundle and in `localizers`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from scipy.sparse import csr_array

from monai_spine.data.volume import WINDOW, Volume, read_volume
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array, Plane, plane_of_normal, spacing

STEP_MM = 2.0
"""Voxel size in the slices."""
SLICE_GAP_MM = (2.6, 6.5)
"""Slices whose distance is in this range stay as they are."""
RESLICED_MM = 4.0
"""Distance to which other slices are resampled."""
_LONGEST_ISOTROPIC_MM = 2.6
"""A volume whose voxels are not longer than this was acquired without thick slices, and can be cut in any plane."""
_THICK_RATIO = 1.5
"""Slices are thick along an axis if its voxels are this many times longer than along the left-right axis."""
Floats = npt.NDArray[np.float32]
_WINDOW_SAMPLES = 60_000
"""Voxels, about, that the percentiles are taken of."""
_LEAST_SIZE = 144
"""Least columns and rows of a slice; smaller slices are padded with 0. The network was trained on this size."""


class SagittalGridd:
    """Read a NIfTI file and put it on a grid of sagittal slices.

    The path under the key is replaced by a float32 tensor ``(1, x, y, z)`` from 0 to 1: slices from the patient's left
    to the right, columns from back to front, rows upwards, along the volume's own axes, with voxels of about `STEP_MM`
    in the slices. ``affine`` from its voxels to RAS mm is added.

    Raises `InvalidVolumeError` if the slices are not sagittal, or all voxels have nearly the same value.
    """

    def __init__(self, *, keys: str | Sequence[str] = "image") -> None:
        self.keys = (keys,) if isinstance(keys, str) else tuple(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the path by the tensor."""
        import torch  # only here: converted networks do without it

        record = dict(data)
        for key in self.keys:
            path = record[key]
            image, affine = sagittal_grid(read_volume(path), str(path))
            record[key], record["affine"] = torch.from_numpy(image[None]), affine
        return record


def sagittal_grid(volume: Volume, name: str, step: float = STEP_MM) -> tuple[Floats, Array]:
    """The image ``(x, y, z)`` and its affine to RAS mm.

    ``name`` is for error messages. ``step``: voxel size in the slices, mm.
    """
    voxels, affine = resliced(*canonical(volume, name), step)
    return padded(_scaled(voxels, name), affine)


def resliced(voxels: Floats, affine: Array, step: float) -> tuple[Floats, Array]:
    """A canonical volume with usual distances of slices, and voxels of ``step`` mm in them."""
    # In the plane first: across slices there are fewer voxels to interpolate afterwards.
    for axes, sizes in ((((1, 2), _in_plane(voxels.shape, affine, step))), ((0,), _across(voxels.shape, affine))):
        voxels, affine = _resized(voxels, affine, dict(zip(axes, sizes, strict=True)))
    return voxels, affine


def padded(voxels: Floats, affine: Array) -> tuple[Floats, Array]:
    """The slices with zeros around them if they are too small, and the affine of the larger image."""
    missing = [max(0, _LEAST_SIZE - size) for size in voxels.shape[1:]]
    (front, back), (below, above) = ((n // 2, n - n // 2) for n in missing)
    shift = np.eye(4)
    shift[1:3, 3] = -front, -below
    return np.pad(voxels, ((0, 0), (front, back), (below, above))), np.asarray(affine @ shift, dtype=np.float64)


def canonical(volume: Volume, name: str) -> tuple[Floats, Array]:
    """The volume with its axes permuted and reversed to the order right, anterior, superior."""
    orientation = io_orientation(volume.affine)
    # nibabel gives NaN for an axis that it cannot assign.
    if np.isnan(orientation).any():
        raise InvalidVolumeError(f"{name}: expected three axes along the patient's, but they cannot be told apart")
    voxels = apply_orientation(volume.voxels, orientation)
    affine = np.asarray(volume.affine @ inv_ornt_aff(orientation, volume.voxels.shape), dtype=np.float64)
    step = spacing(affine)
    thick = int(np.argmax(step))
    # Isotropic volumes pass whatever their storage order: their voxels say nothing of a plane of slices.
    if thick != 0 and step[thick] > _LONGEST_ISOTROPIC_MM and step[thick] > _THICK_RATIO * step[0]:
        plane = plane_of_normal(np.eye(3)[thick]).value
        raise InvalidVolumeError(
            f"{name}: expected {Plane.SAGITTAL.value} slices, but by the affine they are {plane} "
            f"({step[thick]:.1f} mm apart)"
        )
    return voxels, affine


def _in_plane(shape: tuple[int, ...], affine: Array, step: float) -> tuple[int, int]:
    """Columns and rows of slices with a voxel size of ``step`` mm."""
    own = spacing(affine)
    y, z = (max(1, round(shape[axis] * own[axis] / step)) for axis in (1, 2))
    return y, z


def _across(shape: tuple[int, ...], affine: Array) -> tuple[int]:
    """Number of slices: all, if their distance is a usual one or there is one slice only."""
    gap = spacing(affine)[0]
    kept = SLICE_GAP_MM[0] <= gap <= SLICE_GAP_MM[1] or shape[0] == 1
    return (shape[0] if kept else max(1, round(shape[0] * gap / RESLICED_MM)),)


def _resized(voxels: Floats, affine: Array, sizes: Mapping[int, int]) -> tuple[Floats, Array]:
    """The voxels at other sizes along some axes: interpolated where they grow, averaged where they shrink."""
    change = np.eye(4)
    for axis, size in sizes.items():
        old = voxels.shape[axis]
        if size == old:
            continue
        lines = np.ascontiguousarray(np.moveaxis(voxels, axis, 0))
        resized = (_weights(old, size) @ lines.reshape(old, -1)).reshape(size, *lines.shape[1:])
        voxels = np.moveaxis(resized, 0, axis)
        # The outer edges of the volume keep their places, so voxel centres move by half the difference of the sizes.
        change[axis, axis], change[axis, 3] = old / size, old / size / 2 - 0.5
    return np.ascontiguousarray(voxels), np.asarray(affine @ change, dtype=np.float64)


@lru_cache(maxsize=64)
def _weights(old: int, size: int) -> csr_array:
    """The matrix ``(size, old)`` of linear interpolation, whose triangles are as wide as the larger voxels.

    It is PyTorch's ``interpolate`` with ``antialias``, in a quarter of the time: 5 ms for 17 slices of 512 x 512.
    """
    width = max(1.0, old / size)
    middles = (np.arange(size) + 0.5) * old / size - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(old) - middles[:, None]) / width)
    return csr_array((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def _scaled(voxels: Floats, name: str) -> Floats:
    """Grey values from 0 to 1 by `WINDOW`."""
    # Every n-th voxel is enough for percentiles, and much faster.
    flat = voxels.ravel()
    low, high = np.percentile(flat[:: max(1, len(flat) // _WINDOW_SAMPLES)], WINDOW)
    if not high > low:
        raise InvalidVolumeError(f"{name}: expected an image, but all voxels have nearly the value {low:g}")
    scaled: Floats = (voxels - np.float32(low)) / np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)
