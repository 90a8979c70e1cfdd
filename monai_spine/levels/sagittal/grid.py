"""A sagittal volume, however stored, on the grid that the level localizer sees."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from torch.nn.functional import interpolate, pad

from monai_spine.data.volume import Volume, read_volume
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array, Plane, plane_of_normal, spacing

STEP = 2.0
"""In-plane voxel size in mm."""
SLICE_GAP = (2.6, 6.5)
"""Slices that are this far apart in mm stay as they are."""
RESLICED = 4.0
"""The distance in mm that other slices are brought to."""
WINDOW = (1.0, 99.5)
"""Percentiles of the grey values that become 0 and 1."""
_FLAT = 2.6
"""A volume whose voxels are no longer than this in mm has no slices to speak of: it can be cut in any plane."""
_SAMPLES = 60_000
_LEAST = 144
"""Columns and rows below which the slices are padded with 0: networks have seen no smaller ones."""


class SagittalGridd(MapTransform):
    """Read a NIfTI file and put it on a grid of sagittal slices.

    The key's path is replaced by a float32 tensor ``(1, x, y, z)``: slices from the patient's left to the right,
    columns from back to front, rows from below upwards, along the volume's own axes; about `STEP` mm in the slices,
    which are averaged down before they are sampled; from 0 to 1. ``affine`` from its voxels to RAS mm is added.

    Raises
    ------
    InvalidVolumeError
        If the slices are not sagittal, or nothing is in them.
    """

    def __init__(self, *, keys: KeysCollection = "image", affine_key: str = "affine") -> None:
        super().__init__(keys)
        self.affine_key = affine_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the path by the tensor."""
        record = dict(data)
        for key in self.key_iterator(record):
            path = record[key]
            tensor, affine = sagittal_grid(read_volume(path), str(path))
            record[key], record[self.affine_key] = tensor[None], affine
        return record


def sagittal_grid(volume: Volume, name: str) -> tuple[torch.Tensor, Array]:
    """The tensor ``(x, y, z)`` and its affine; ``name`` is for errors."""
    voxels, affine = _canonical(volume, name)
    for axes, sizes in ((((1, 2), _in_plane(voxels.shape, affine))), ((0,), _across(voxels.shape, affine))):
        voxels, affine = _resized(voxels, affine, dict(zip(axes, sizes, strict=True)))
    return _padded(_scaled(voxels, name), affine)


def _padded(voxels: torch.Tensor, affine: Array) -> tuple[torch.Tensor, Array]:
    """Zeros around slices that are too small."""
    missing = [max(0, _LEAST - size) for size in voxels.shape[1:]]
    (front, back), (below, above) = ((n // 2, n - n // 2) for n in missing)
    shift = np.eye(4)
    shift[1:3, 3] = -front, -below
    return pad(voxels, (below, above, front, back)), np.asarray(affine @ shift, dtype=np.float64)


def _canonical(volume: Volume, name: str) -> tuple[torch.Tensor, Array]:
    """Axes turned and flipped to run right, anterior and superior as nearly as they can."""
    orientation = io_orientation(volume.affine)
    if np.isnan(orientation).any():
        raise InvalidVolumeError(f"{name}: expected three axes along the patient's, but they cannot be told apart")
    voxels = apply_orientation(volume.voxels, orientation)
    affine = np.asarray(volume.affine @ inv_ornt_aff(orientation, volume.voxels.shape), dtype=np.float64)
    step = spacing(affine)
    thick = int(np.argmax(step))
    if thick != 0 and step[thick] > _FLAT and step[thick] > 1.5 * step[0]:
        plane = plane_of_normal(np.eye(3)[thick]).value
        raise InvalidVolumeError(
            f"{name}: expected {Plane.SAGITTAL.value} slices, but by the affine they are {plane} "
            f"({step[thick]:.1f} mm apart)"
        )
    return torch.from_numpy(np.ascontiguousarray(voxels)), affine


def _in_plane(shape: torch.Size, affine: Array) -> tuple[int, int]:
    step = spacing(affine)
    y, z = (max(1, round(shape[axis] * step[axis] / STEP)) for axis in (1, 2))
    return y, z


def _across(shape: torch.Size, affine: Array) -> tuple[int]:
    gap = spacing(affine)[0]
    kept = SLICE_GAP[0] <= gap <= SLICE_GAP[1] or shape[0] == 1
    return (shape[0] if kept else max(1, round(shape[0] * gap / RESLICED)),)


def _resized(voxels: torch.Tensor, affine: Array, sizes: Mapping[int, int]) -> tuple[torch.Tensor, Array]:
    """Linear interpolation, averaging where it shrinks, with the outer edges of the volume staying where they are."""
    change = np.eye(4)
    for axis, size in sizes.items():
        old = voxels.shape[axis]
        if size == old:
            continue
        line = voxels.movedim(axis, -1)
        flat = line.reshape(1, 1, -1, old)
        done = interpolate(flat, size=(flat.shape[2], size), mode="bilinear", antialias=True, align_corners=False)
        voxels = done.reshape(*line.shape[:-1], size).movedim(-1, axis)
        change[axis, axis], change[axis, 3] = old / size, old / size / 2 - 0.5
    return voxels.contiguous(), np.asarray(affine @ change, dtype=np.float64)


def _scaled(voxels: torch.Tensor, name: str) -> torch.Tensor:
    flat = voxels.flatten()
    low, high = np.percentile(flat[:: max(1, len(flat) // _SAMPLES)].numpy(), WINDOW)
    if not high > low:
        raise InvalidVolumeError(f"{name}: expected an image, but all voxels have nearly the value {low:g}")
    return ((voxels - float(low)) / float(high - low)).clamp(0, 1)
