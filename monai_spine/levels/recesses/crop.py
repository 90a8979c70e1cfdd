"""The input of the recess network: a square of an axial slice along the patient's axes, and the expected places.

`AxialSliced` and `RecessCropd` are the two steps of preprocessing, in training, in the bundle and in `localizers`. A
crop is a tensor ``(3, 1, x, y)``: grey values, then a Gaussian at each projected point, left and right. Its first
spatial axis, of one voxel, is the slice's normal, so that networks and maps for volumes work on crops too; ``x`` runs
to the patient's right and ``y`` forwards, both in the slice's own plane, however the slice is stored.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from monai_spine.data.volume import WINDOW, Opener, Volume, open_unpacked, read_slice
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array, Plane, plane_of, slice_normal, spacing, to_voxel, to_world
from monai_spine.levels.recesses.planes import on_plane
from monai_spine.levels.sagittal.chain import Disc, expected_recess
from monai_spine.levels.sagittal.maps import Floats, gaussians
from monai_spine.spine import Side

PIXELS = 64
"""Pixels along each side of a crop."""
STEP_MM = 0.75
"""Size of a pixel. A crop is 48 mm wide; the two recesses of a canal are 17 to 25 mm apart."""
_PRIOR_MM = 4.0
"""Standard deviation of the Gaussians at the projected points, about the error of a localizer's points."""
_BLUR_PIXELS = 0.4
"""Standard deviation, in crop pixels, of the blur against aliasing of images with finer pixels."""


class AxialSliced:
    """Read the axial slice ``record["slice"]`` of a NIfTI file.

    The path under the key is replaced by the slice's float32 voxels ``(i, j, 1)``, and ``affine`` from these to RAS mm
    is added.

    Raises `MissingInputError` or `InvalidVolumeError` as `axial_slice` does.
    """

    def __init__(self, *, keys: str | Sequence[str] = "image") -> None:
        self.keys = (keys,) if isinstance(keys, str) else tuple(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the path by the voxels."""
        record = dict(data)
        for key in self.keys:
            volume = axial_slice(record[key], int(record["slice"]))
            record[key], record["affine"] = volume.voxels, volume.affine
        return record


def axial_slice(path: str | Path, k: int, opened: Opener = open_unpacked) -> Volume:
    """Slice ``k`` of an axial stack as a volume of one slice; see `read_slice`.

    Raises `MissingInputError` or `InvalidVolumeError` as `read_slice`; also if the slices are not axial.
    """
    volume = read_slice(path, k, opened)
    plane = plane_of(volume.affine)
    if plane is not Plane.AXIAL:
        raise InvalidVolumeError(f"{path}: expected axial slices, but by the affine they are {plane.value}")
    return volume


class RecessCropd:
    """Crop a slice around the expected recesses of a disc.

    Expects voxels ``(i, j, 1)`` under the key, ``affine`` from them to RAS mm, and ``canal`` and ``upwards``: RAS mm of
    the canal at the disc, and the spine's direction there. The voxels are replaced by a crop, a float32 tensor
    ``(3, 1, PIXELS, PIXELS)``, and ``affine`` by the one from its voxels to RAS mm.
    """

    def __init__(self, *, keys: str | Sequence[str] = "image") -> None:
        self.keys = (keys,) if isinstance(keys, str) else tuple(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the slice by the crop."""
        import torch  # only here: converted networks do without it

        record = dict(data)
        disc = Disc(np.asarray(record["canal"], dtype=np.float64), 1.0, np.asarray(record["upwards"], dtype=np.float64))
        for key in self.keys:
            volume = Volume(np.asarray(record[key]), np.asarray(record["affine"], dtype=np.float64))
            crop, record["affine"] = recess_crop(volume, disc)
            record[key] = torch.from_numpy(crop)
        return record


def recess_crop(volume: Volume, disc: Disc) -> tuple[Floats, Array]:
    """The crop ``(3, 1, PIXELS, PIXELS)`` of a volume of one axial slice, and the affine from its voxels to RAS mm."""
    projected = np.stack([on_plane(expected_recess(disc, side), volume.affine) for side in Side])
    affine = crop_affine(volume.affine, projected.mean(axis=0))
    grey = _scaled(_sampled(volume, affine))[None]
    deviation = np.array([_PRIOR_MM] * 3)
    priors = [gaussians(place[None], affine, (1, PIXELS, PIXELS), deviation) for place in projected]
    return np.stack([grey, *priors]), affine


def crop_affine(affine: Array, middle: Array) -> Array:
    """The affine of a crop around a point (RAS mm) of a slice; ``affine`` is the slice's."""
    normal = slice_normal(affine)
    normal = normal if normal[2] >= 0 else -normal  # upwards, so that right × forwards = normal for any storage order
    right = np.array([1.0, 0.0, 0.0]) - normal[0] * normal
    right /= np.linalg.norm(right)
    axes = np.eye(4)
    axes[:3, :3] = np.stack([normal, right * STEP_MM, np.cross(normal, right) * STEP_MM], axis=1)
    axes[:3, 3] = middle - (axes[:3, 1] + axes[:3, 2]) * (PIXELS - 1) / 2
    return axes


def _sampled(volume: Volume, affine: Array) -> np.ndarray:
    """Grey values ``(PIXELS, PIXELS)``, averaged where the slice has finer pixels, 0 outside of it."""
    i, j = np.meshgrid(np.arange(PIXELS), np.arange(PIXELS), indexing="ij")
    places = to_voxel(volume.affine, to_world(affine, np.stack([np.zeros_like(i), i, j], axis=-1)))[..., :2]
    plane = volume.voxels[..., 0]
    ratio = STEP_MM / spacing(volume.affine)[:2]
    margin = np.ceil(3 * ratio).astype(int)  # the blur needs neighbours, but not the whole slice
    low = np.clip(np.floor(places.min(axis=(0, 1))).astype(int) - margin, 0, plane.shape)
    high = np.clip(np.ceil(places.max(axis=(0, 1))).astype(int) + margin + 1, 0, plane.shape)
    if (low >= high).any():
        return np.zeros((PIXELS, PIXELS), dtype=np.float32)
    near = plane[low[0] : high[0], low[1] : high[1]].astype(np.float32)
    smooth = gaussian_filter(near, _BLUR_PIXELS * np.sqrt(np.clip(ratio**2 - 1.0, 0.0, None)), mode="nearest")
    return np.asarray(map_coordinates(smooth, np.moveaxis(places - low, -1, 0), order=1, mode="grid-constant"))


def _scaled(plane: np.ndarray) -> np.ndarray:
    """Grey values from 0 to 1 by `WINDOW`; all 0 if no part of the slice is in view."""
    low, high = np.percentile(plane, WINDOW)
    return np.clip((plane - low) / max(float(high - low), 1e-6), 0.0, 1.0).astype(np.float32)
