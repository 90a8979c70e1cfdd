"""A panel of a volume's errors: three sagittal slices with the landmarks that are there and those that were found."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from monai_spine.geometry import Array, spacing, to_voxel
from monai_spine.training.tensorboard.pictures import Picture

_TRUTH, _FOUND = (90, 220, 120), (250, 90, 80)
_SCALE = 1.3
"""Pixels for a mm."""
_HEADER = 22


def error_panel(image: torch.Tensor, affine: Array, found: Array, truth: Array, title: str) -> Picture:
    """An RGB picture ``(height, width, 3)``: circles where landmarks are, crosses where they were found.

    Slices through the left, the middle and the right of the landmarks, seen from the patient's left. Each landmark is
    drawn on the one that is nearest to it.

    Parameters
    ----------
    image, affine
        ``(x, y, z)`` from 0 to 1, from left to right, back to front, below upwards; and from its voxels to RAS mm.
    found, truth
        RAS mm ``(n, 3)``.
    """
    marks = [(to_voxel(affine, points.reshape(-1, 3)), colour) for points, colour in ((truth, _TRUTH), (found, _FOUND))]
    shown = _slices(np.concatenate([voxels for voxels, _ in marks])[:, 0], len(image))
    size = tuple(round(n * mm * _SCALE) for n, mm in zip(image.shape[1:], spacing(affine)[1:], strict=True))
    picture = Image.new("RGB", (len(shown) * size[0], size[1] + _HEADER), "black")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    draw.text((6, 3), title, fill="white", font=font)
    scale = np.array(size) / np.array(image.shape[1:])
    for n, k in enumerate(shown):
        plane = (image[k].clamp(0, 1).numpy()[::-1, ::-1].T * 255).astype(np.uint8)
        picture.paste(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR), (n * size[0], _HEADER))
        for voxels, colour in marks:
            for voxel in voxels[_nearest(voxels[:, 0], shown) == n]:
                x, y = (np.array(image.shape[1:]) - 0.5 - voxel[1:]) * scale
                _mark(draw, (n * size[0] + float(x), _HEADER + float(y)), colour)
    return np.asarray(picture)


def _slices(x: Array, count: int) -> list[int]:
    """The outermost slices that landmarks lie on, and the one between."""
    low, high = np.quantile(x, [0.1, 0.9]) if len(x) else (count / 4, 3 * count / 4)
    wanted = np.rint([low, (low + high) / 2, high])
    return [int(k) for k in np.clip(wanted, 0, count - 1)]


def _nearest(x: Array, shown: list[int]) -> Array:
    return np.asarray(np.abs(x[:, None] - np.array(shown)).argmin(axis=1))


def _mark(draw: ImageDraw.ImageDraw, at: tuple[float, float], colour: tuple[int, int, int]) -> None:
    x, y = at
    if colour == _TRUTH:
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline=colour, width=2)
    else:
        draw.line((x - 4, y - 4, x + 4, y + 4), fill=colour, width=2)
        draw.line((x - 4, y + 4, x + 4, y - 4), fill=colour, width=2)
