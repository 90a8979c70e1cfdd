"""A sheet of images, each next to its class activation, with captions and a frame that says right or wrong."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]

_SIDE = 176
"""Longer side of an image on the sheet, in pixels."""
_LINE, _MARGIN, _FRAME = 15, 6, 3
"""Height of a line of text, margin around a tile, and width of its frame, in pixels."""
_FONT_SIZE = 12
_BACKGROUND, _TEXT, _FAINT_TEXT = (24, 24, 24), (235, 235, 235), (165, 165, 165)
_RIGHT, _WRONG = (70, 160, 90), (205, 60, 50)
_MAX_WIDTH = 1200
"""Largest width of the sheet in pixels, unless a single tile is wider."""


@dataclass(frozen=True)
class Tile:
    """An image on a sheet."""

    pictures: tuple[Picture, ...]
    """Pictures next to each other, ``(rows, columns, 3)`` in RGB: the image, and its overlay if there is one."""
    lines: tuple[str, ...]
    """Lines of text below them."""
    correct: bool | None = None
    """Whether the prediction is right: a green frame, a red one if not, and no frame for None (unknown)."""


def contact_sheet(tiles: Sequence[Tile]) -> Picture:
    """The tiles in rows, ``(height, width, 3)`` in RGB; their pictures must have the same size."""
    drawn = [_drawn(tile) for tile in tiles]
    height, width = max(tile.height for tile in drawn), max(tile.width for tile in drawn)
    columns = max(1, min(len(drawn), _MAX_WIDTH // width))
    sheet = Image.new("RGB", (columns * width, math.ceil(len(drawn) / columns) * height), _BACKGROUND)
    for n, tile in enumerate(drawn):
        sheet.paste(tile, (n % columns * width, n // columns * height))
    return np.asarray(sheet)


def displayed(image: npt.ArrayLike) -> Picture:
    """An image for display, ``(rows, columns, 3)`` in RGB.

    ``image``: ``(channels, rows, columns)`` from 0 to 1; another range is stretched to that. One channel is shown grey,
    two as red and green, and of more the first three as red, green and blue.
    """
    pixels = np.asarray(image, dtype=np.float32)
    if pixels.min() < 0 or pixels.max() > 1:
        pixels = (pixels - pixels.min()) / max(float(np.ptp(pixels)), 1e-6)
    # Two channels get an empty blue one, so that their colours stay apart.
    grey = len(pixels) == 1
    colours = np.repeat(pixels, 3, axis=0) if grey else np.concatenate([pixels[:3], np.zeros_like(pixels[:1])])[:3]
    return np.asarray((np.moveaxis(colours, 0, -1) * 255).round(), dtype=np.uint8)


def _drawn(tile: Tile) -> Image.Image:
    images = [Image.fromarray(picture) for picture in tile.pictures]
    scale = _SIDE / max(images[0].size)
    size = (max(1, round(images[0].width * scale)), max(1, round(images[0].height * scale)))
    inner = (len(images) * size[0], size[1] + _LINE * len(tile.lines) + _FRAME)
    tile_image = Image.new("RGB", (inner[0] + 2 * _MARGIN, inner[1] + 2 * _MARGIN), _BACKGROUND)
    for n, image in enumerate(images):
        tile_image.paste(image.resize(size, Image.Resampling.BICUBIC), (_MARGIN + n * size[0], _MARGIN))
    draw = ImageDraw.Draw(tile_image)
    box = (_MARGIN - _FRAME, _MARGIN - _FRAME, _MARGIN + inner[0] + _FRAME - 1, _MARGIN + size[1] + _FRAME - 1)
    if tile.correct is not None:
        draw.rectangle(box, outline=_RIGHT if tile.correct else _WRONG, width=_FRAME)
    font = ImageFont.load_default(_FONT_SIZE)  # comes with Pillow: sheets look the same on every machine
    for n, line in enumerate(tile.lines):
        position = (_MARGIN, _MARGIN + size[1] + _FRAME + 1 + n * _LINE)
        draw.text(position, _fitted(line, inner[0], draw, font), font=font, fill=_FAINT_TEXT if n else _TEXT)
    return tile_image


def _fitted(
    line: str, width: int, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """A line that fits the width in pixels, its end replaced by … if it is too long."""
    if draw.textlength(line, font=font) <= width:
        return line
    while line and draw.textlength(line + "…", font=font) > width:
        line = line[:-1]
    return line + "…"
