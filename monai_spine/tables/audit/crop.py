"""A slice around a point, as people look at it: sagittal with anterior on the left, axial with anterior on top."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from monai_spine.data.volume import Volume, open_volume, read_volume
from monai_spine.errors import SpineError
from monai_spine.geometry import Array, Plane, plane_distance, plane_of, slice_normal, to_voxel, to_world

SIDE_MM = 70.0
SIDE_PIXELS = 240
NEAR_MM = 6.0
"""How far from a slice a point may lie and still be shown on it."""

_SCREEN = {
    Plane.SAGITTAL: ([0.0, -1.0, 0.0], [0.0, 0.0, -1.0]),
    Plane.AXIAL: ([-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]),
    Plane.CORONAL: ([-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
}
"""RAS directions towards the right and the lower edge of the screen; the patient's right is on the left."""


class NoCropError(SpineError):
    """There is no slice to show; the message says why."""


def nearest_volume(paths: Sequence[Path], point: Sequence[float]) -> Path:
    """The volume with a slice nearest to a point in RAS mm.

    Raises
    ------
    NoCropError
        If there is none, none can be read, or the nearest slice is further away than ``NEAR_MM``.
    """
    if not paths:
        raise NoCropError("no such series in the datalist")
    distances: dict[Path, float] = {}
    for path in paths:
        try:
            image = open_volume(path)
        except SpineError:
            continue
        distances[path] = float(plane_distance(np.asarray(image.affine, dtype=np.float64), image.shape, point))
    if not distances:
        raise NoCropError("the volume is not there or cannot be read")
    best = min(distances, key=lambda path: distances[path])
    if distances[best] > NEAR_MM:
        raise NoCropError(f"the nearest slice is {distances[best]:.0f} mm away")
    return best


def crop(volume: Volume, point: Sequence[float]) -> Image.Image:
    """``SIDE_MM`` of the slice nearest to a point in RAS mm, with a ring around it; black outside of the volume."""
    right, down = _screen_directions(volume.affine)
    steps = (np.arange(SIDE_PIXELS) - (SIDE_PIXELS - 1) / 2) * SIDE_MM / SIDE_PIXELS
    middle = _on_slice(volume, point)
    world = middle + steps[None, :, None] * right + steps[:, None, None] * down
    pixels = map_coordinates(volume.voxels, np.moveaxis(to_voxel(volume.affine, world), -1, 0), order=1, cval=0.0)
    picture = Image.fromarray(_windowed(pixels)).convert("RGB")
    half = SIDE_PIXELS / 2
    ImageDraw.Draw(picture).ellipse((half - 34, half - 34, half + 34, half + 34), outline=(255, 196, 64), width=1)
    return picture


def as_data_address(picture: Image.Image) -> str:
    """The picture as JPEG in a ``data:`` address, to stand in an HTML file."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def crop_of_files(paths: Sequence[Path], point: Sequence[float]) -> str:
    """The crop from whichever volume has a slice nearest to the point, as a ``data:`` address.

    Raises
    ------
    NoCropError
        If there is no slice to show.
    """
    path = nearest_volume(paths, point)
    try:
        return as_data_address(crop(read_volume(path), point))
    except SpineError as err:
        raise NoCropError("the volume cannot be read") from err


def _screen_directions(affine: Array) -> tuple[Array, Array]:
    """Unit vectors within the slice, towards the right and the lower edge of the screen."""
    normal = slice_normal(affine)
    right, down = (np.asarray(direction) for direction in _SCREEN[plane_of(affine)])
    right = right - (right @ normal) * normal
    right = right / np.linalg.norm(right)
    down = down - (down @ normal) * normal - (down @ right) * right
    return right, down / np.linalg.norm(down)


def _on_slice(volume: Volume, point: Sequence[float]) -> Array:
    """The point moved along the normal onto the nearest slice."""
    place = np.asarray(point, dtype=np.float64)
    normal = slice_normal(volume.affine)
    k = np.clip(np.round(to_voxel(volume.affine, place)[2]), 0, volume.voxels.shape[2] - 1)
    corner = to_world(volume.affine, [0, 0, k])
    return np.asarray(place - ((place - corner) @ normal) * normal)


def _windowed(pixels: np.ndarray) -> np.ndarray:
    low, high = np.percentile(pixels[pixels != 0], [1, 99.5]) if (pixels != 0).any() else (0.0, 1.0)
    return np.asarray(np.clip((pixels - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.uint8)
