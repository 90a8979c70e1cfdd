"""A contact sheet of a study's crops, level by level, for people who check what a network sees."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from monai_spine.crops.view import DEFAULT_VIEWS, View
from monai_spine.spine import Level, SeriesType

_LEFT, _TOP, _GAP = 56, 40, 10
"""Pixels left of the crops for the names of levels, above them for the names of views, and between views."""
_BACKGROUND, _ABSENT, _INK, _QUIET = (18, 18, 22), (58, 34, 44), (235, 235, 235), (160, 160, 170)


def contact_sheet(
    crops: Mapping[Hashable, Any], views: Sequence[View] = DEFAULT_VIEWS, *, per_view: int = 5, side: int = 112
) -> Image.Image:
    """An RGB picture: a row for each level, planes of each view beside each other.

    Parameters
    ----------
    crops
        A record from `monai_spine.transforms.level_crops.LevelCropsd` with the same ``views``.
    per_view
        Number of planes shown of each view, spread evenly; all if a view has fewer.
    side
        Height of a crop in pixels.
    """
    shown = [_spread(view.slices, per_view) for view in views]
    widths = [round(side * view.size_mm[1] / view.size_mm[0]) for view in views]
    width = _LEFT + sum(len(chosen) * one + _GAP for chosen, one in zip(shown, widths, strict=True))
    sheet = Image.new("RGB", (width, _TOP + side * len(Level)), _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for row, level in enumerate(Level):
        draw.text((8, _TOP + row * side + side // 2 - 8), level.title, _INK, font)
    left = _LEFT
    for view, chosen, one in zip(views, shown, widths, strict=True):
        draw.text((left, 4), _heading(view, crops), _INK, font)
        for column, k in enumerate(chosen):
            x = left + column * one
            offset = (k - (view.slices - 1) / 2) * view.gap_mm
            draw.text((x + 2, 22), f"{offset:+.0f} mm" if offset else "0 mm", _QUIET, font)
            for row in range(len(Level)):
                covered = bool(crops[f"{view.name}_mask"][row, k])
                pixels = np.asarray(crops[view.name][row, k])
                sheet.paste(_tile(pixels, covered, (one - 2, side - 2)), (x, _TOP + row * side))
        left += len(chosen) * one + _GAP
    return sheet


def _spread(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return [round(float(k)) for k in np.linspace(0, count - 1, most)]


def _heading(view: View, crops: Mapping[Hashable, Any]) -> str:
    sources = sorted({int(index) for index in crops[f"{view.name}_series"] if index >= 0})
    names = [list(SeriesType)[index].title for index in sources]
    return f"{view.name}: {' and '.join(names) or 'no source'}"


def _tile(pixels: npt.NDArray[np.float32], covered: bool, size: tuple[int, int]) -> Image.Image:
    if covered:
        grey = Image.fromarray((np.clip(pixels, 0, 1) ** 0.8 * 255).astype(np.uint8))  # lifts the dark discs a little
        return grey.resize(size, Image.Resampling.BICUBIC).convert("RGB")
    tile = Image.new("RGB", size, _ABSENT)
    ImageDraw.Draw(tile).text((8, size[1] // 2 - 8), "not covered", _QUIET, ImageFont.load_default(12))
    return tile
