"""What the recess network sees: a square of an axial slice along the patient's axes, and where the recesses should be.

A crop is a tensor ``(3, 1, x, y)``: grey values, then a Gaussian at either projected point, left and right. Its first
axis in space, of one voxel, is the slice's normal, so that the networks and maps of volumes serve it too; ``x`` runs to
the patient's right and ``y`` forwards, both in the slice's own plane. However the slice was stored, left is left.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy.ndimage import gaussian_filter, map_coordinates

from monai_spine.data.volume import Volume
from monai_spine.geometry import Array, slice_normal, spacing, to_voxel, to_world
from monai_spine.levels.recesses.planes import on_plane
from monai_spine.levels.sagittal.chain import Disc, expected_recess
from monai_spine.levels.sagittal.landmark_maps import gaussians
from monai_spine.spine import Side

PIXELS = 64
"""Along either side of a crop."""
STEP = 0.75
"""Millimetres of a pixel: a crop is 48 mm wide, the recesses of a canal 17 to 25 mm apart."""
WINDOW = (1.0, 99.5)
"""Percentiles of a crop's grey values that become 0 and 1."""
_PRIOR = 4.0
"""Deviation in mm of the Gaussians at the projected points: about what a localizer's points are worth."""
_BLUR = 0.4
"""Deviation in crop pixels of the blur before an image with finer pixels is sampled."""


class RecessCropd(MapTransform):
    """Crop a slice around the place where the recesses of a disc should be.

    Expects voxels ``(i, j, 1)`` under the key, ``affine`` from them to RAS mm, and ``canal`` and ``upwards``: RAS mm of
    the canal at the disc, and the spine's direction there. The voxels are replaced by a crop, a float32 tensor
    ``(3, 1, PIXELS, PIXELS)``, and ``affine`` by the one from its voxels to RAS mm.
    """

    def __init__(self, *, keys: KeysCollection = "image", affine_key: str = "affine") -> None:
        super().__init__(keys)
        self.affine_key = affine_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the slice by the crop."""
        record = dict(data)
        disc = Disc(np.asarray(record["canal"], dtype=np.float64), 1.0, np.asarray(record["upwards"], dtype=np.float64))
        for key in self.key_iterator(record):
            volume = Volume(np.asarray(record[key]), np.asarray(record[self.affine_key], dtype=np.float64))
            record[key], record[self.affine_key] = recess_crop(volume, disc)
        return record


def recess_crop(volume: Volume, disc: Disc) -> tuple[torch.Tensor, Array]:
    """The crop ``(3, 1, PIXELS, PIXELS)`` of a volume of one axial slice, and the affine from its voxels to RAS mm."""
    projected = np.stack([on_plane(expected_recess(disc, side), volume.affine) for side in Side])
    affine = crop_affine(volume.affine, projected.mean(axis=0))
    grey = torch.from_numpy(_scaled(_sampled(volume, affine)))[None]
    deviation = np.array([_PRIOR] * 3)
    priors = [gaussians(place[None], affine, (1, PIXELS, PIXELS), deviation) for place in projected]
    return torch.stack([grey, *priors]).float(), affine


def crop_affine(affine: Array, middle: Array) -> Array:
    """From voxels of the crop around a point of a slice to RAS mm; ``affine`` is the slice's."""
    normal = slice_normal(affine)
    normal = normal if normal[2] >= 0 else -normal
    right = np.array([1.0, 0.0, 0.0]) - normal[0] * normal
    right /= np.linalg.norm(right)
    axes = np.eye(4)
    axes[:3, :3] = np.stack([normal, right * STEP, np.cross(normal, right) * STEP], axis=1)
    axes[:3, 3] = middle - (axes[:3, 1] + axes[:3, 2]) * (PIXELS - 1) / 2
    return axes


def _sampled(volume: Volume, affine: Array) -> np.ndarray:
    """Grey values ``(PIXELS, PIXELS)``, averaged where the slice has finer pixels, 0 outside of it."""
    i, j = np.meshgrid(np.arange(PIXELS), np.arange(PIXELS), indexing="ij")
    places = to_voxel(volume.affine, to_world(affine, np.stack([np.zeros_like(i), i, j], axis=-1)))[..., :2]
    plane = volume.voxels[..., 0]
    ratio = STEP / spacing(volume.affine)[:2]
    margin = np.ceil(3 * ratio).astype(int)
    low = np.clip(np.floor(places.min(axis=(0, 1))).astype(int) - margin, 0, plane.shape)
    high = np.clip(np.ceil(places.max(axis=(0, 1))).astype(int) + margin + 1, 0, plane.shape)
    if (low >= high).any():
        return np.zeros((PIXELS, PIXELS), dtype=np.float32)
    near = plane[low[0] : high[0], low[1] : high[1]].astype(np.float32)
    smooth = gaussian_filter(near, _BLUR * np.sqrt(np.clip(ratio**2 - 1.0, 0.0, None)), mode="nearest")
    return np.asarray(map_coordinates(smooth, np.moveaxis(places - low, -1, 0), order=1, mode="grid-constant"))


def _scaled(plane: np.ndarray) -> np.ndarray:
    """From 0 to 1; nothing but 0 where nothing is in view."""
    low, high = np.percentile(plane, WINDOW)
    return np.clip((plane - low) / max(float(high - low), 1e-6), 0.0, 1.0).astype(np.float32)
