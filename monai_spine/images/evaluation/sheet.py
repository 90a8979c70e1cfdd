"""A sheet of judged images: each beside where the network looked, with what it is and what was said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]

_SIDE = 176
"""Longer side of an image, in pixels."""
_LINE, _MARGIN, _FRAME = 15, 6, 3
_FONT_SIZE = 12
_BACK, _TEXT, _FAINT = (24, 24, 24), (235, 235, 235), (165, 165, 165)
_RIGHT, _WRONG = (70, 160, 90), (205, 60, 50)
_BROAD = 1200
"""Pixels beyond which tiles go to the next row."""


@dataclass(frozen=True)
class Tile:
    """An image of a sheet.

    Attributes
    ----------
    pictures
        Beside each other, ``(rows, columns, 3)`` in RGB: the image, and its overlay if there is one.
    lines
        Below them.
    right
        Whether the network was right: the colour of the frame. Without a frame where nobody knows.
    """

    pictures: tuple[Picture, ...]
    lines: tuple[str, ...]
    right: bool | None = None


def sheet(tiles: Sequence[Tile]) -> Picture:
    """The tiles in rows, ``(height, width, 3)`` in RGB; their images must be of one size."""
    drawn = [_drawn(tile) for tile in tiles]
    height, width = max(one.height for one in drawn), max(one.width for one in drawn)
    across = max(1, min(len(drawn), _BROAD // width))
    whole = Image.new("RGB", (across * width, math.ceil(len(drawn) / across) * height), _BACK)
    for n, one in enumerate(drawn):
        whole.paste(one, (n % across * width, n // across * height))
    return np.asarray(whole)


def _drawn(tile: Tile) -> Image.Image:
    images = [Image.fromarray(picture) for picture in tile.pictures]
    scale = _SIDE / max(images[0].size)
    size = (max(1, round(images[0].width * scale)), max(1, round(images[0].height * scale)))
    inner = (len(images) * size[0], size[1] + _LINE * len(tile.lines) + 3)
    whole = Image.new("RGB", (inner[0] + 2 * _MARGIN, inner[1] + 2 * _MARGIN), _BACK)
    for n, image in enumerate(images):
        whole.paste(image.resize(size, Image.Resampling.BICUBIC), (_MARGIN + n * size[0], _MARGIN))
    draw = ImageDraw.Draw(whole)
    box = (_MARGIN - _FRAME, _MARGIN - _FRAME, _MARGIN + inner[0] + _FRAME - 1, _MARGIN + size[1] + _FRAME - 1)
    if tile.right is not None:
        draw.rectangle(box, outline=_RIGHT if tile.right else _WRONG, width=_FRAME)
    font = ImageFont.load_default(_FONT_SIZE)
    for n, line in enumerate(tile.lines):
        place = (_MARGIN, _MARGIN + size[1] + _FRAME + 1 + n * _LINE)
        draw.text(place, _cut(line, inner[0], draw, font), font=font, fill=_FAINT if n else _TEXT)
    return whole


def _cut(line: str, width: int, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A line with its end left out where it is too long."""
    if draw.textlength(line, font=font) <= width:
        return line
    while line and draw.textlength(line + "…", font=font) > width:
        line = line[:-1]
    return line + "…"
