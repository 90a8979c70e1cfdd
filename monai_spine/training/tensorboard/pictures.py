"""Pictures of studies: the middle of each series, with labels and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from monai_spine.errors import counted
from monai_spine.spine import MISSING, Condition, Grade, Level, SeriesType

Picture = npt.NDArray[np.uint8]

SERIES = tuple(SeriesType)

_COLOURS = {Grade.NORMAL_MILD: (70, 160, 90), Grade.MODERATE: (230, 170, 40), Grade.SEVERE: (205, 60, 50)}
_GREY = (110, 110, 110)
_ATTENTION = (250, 190, 60)
_CAPTION, _SOFT, _ABSENT = (240, 220, 120), (170, 170, 170), (40, 40, 40)
_PANEL = 320
"""Height of a panel in pixels."""
_CAPTION_HEIGHT, _LEAST_WIDTH = 24, 90
"""Height of the caption above a panel, and least width of a panel, in pixels."""
_CELL = (62, 34)
_CROP, _BAR, _GAP = 96, 8, 10
"""Side of a crop, height of the bar of its attention weight below it, and gap between views, in pixels."""
_ROW_TITLE, _TITLES = 62, 46
"""Width of the titles of rows, and height of the titles of columns, in pixels."""
_CONDITION = 96
"""Width of the names of conditions in the table, in pixels."""
_SHORT = ("canal", "foramen L", "foramen R", "recess L", "recess R")


def study_picture(
    grid: npt.ArrayLike, step: Sequence[float], probabilities: npt.ArrayLike, label: npt.ArrayLike, title: str
) -> Picture:
    """A strip of four views of a study and a table of its findings.

    Parameters
    ----------
    grid
        ``(2 * series, R, A, S)``: what `monai_spine.transforms.study_grid.StudyGridd` makes for all three series types.
    step
        Millimetres between the grid's voxels along right, anterior, superior, for the proportions of the views.
    probabilities
        ``(25, 3)``.
    label
        ``(25,)`` of 0, 1, 2 or `MISSING`.

    Returns
    -------
    ``(height, width, 3)`` in RGB. The colour of a cell of the table is the predicted mixture of grades, that of its
    frame the label. Sagittal views are seen from the patient's left (anterior on the left), axial ones from the feet.
    """
    grid = np.asarray(grid, dtype=np.float32)
    right, anterior, superior = step
    views = [_panel(view, caption, superior / anterior) for caption, view in _sagittal_views(grid)]
    views.append(_panel(_axial(grid[SERIES.index(SeriesType.AXIAL_T2)]), "axial T2", anterior / right))
    table = _table(np.asarray(probabilities, dtype=np.float64), np.asarray(label), title)
    return np.concatenate([np.asarray(view) for view in [*views, table]], axis=1)


def crops_picture(
    crops: npt.ArrayLike,
    attention: npt.ArrayLike,
    views: Mapping[str, int],
    *,
    probabilities: npt.ArrayLike,
    label: npt.ArrayLike,
    title: str,
) -> Picture:
    """The crops of a study with their attention weights, and the table of its findings.

    A row shows a level, a column a slice of a view. The titles of both are beside them.

    Parameters
    ----------
    crops
        ``(5, slices, rows, columns)`` from 0 to 1; below 0 where a slice is not there.
    attention
        ``(5, 5 conditions, slices)``: the bar under each slice is as long as the greatest of its weights, as a share
        of the greatest weight in its view.
    views
        The number of slices of each view, by its title.
    probabilities, label
        As `study_picture` takes them.
    """
    pixels, weights = np.asarray(crops, dtype=np.float32), np.asarray(attention, dtype=np.float32).max(axis=1)
    table = _table(np.asarray(probabilities, dtype=np.float64), np.asarray(label), title)
    rows = len(Level) * (_CROP + _BAR)
    strip = Image.new("RGB", (_ROW_TITLE + pixels.shape[1] * _CROP + _GAP * (len(views) - 1), _TITLES + rows), "black")
    draw = ImageDraw.Draw(strip)
    for row, level in enumerate(Level):
        draw.text((6, _TITLES + row * (_CROP + _BAR) + _CROP // 2 - 8), level.title, fill="white", font=_font(15))
    first, left = 0, _ROW_TITLE
    for name, count in views.items():
        own = slice(first, first + count)
        draw.text((left + 4, 4), f"{name}, {counted(count, 'slice')}", fill=_CAPTION, font=_font(16))
        strongest = np.maximum(weights[:, own].max(axis=1), 1e-6)
        for n in range(first, first + count):
            draw.text((left + _CROP // 2 - 4, 26), f"{n - first + 1}", fill=_SOFT, font=_font(13))
            for row in range(len(Level)):
                top = _TITLES + row * (_CROP + _BAR)
                strip.paste(_crop(pixels[row, n]), (left, top))
                long = round(float(weights[row, n] / strongest[row]) * (_CROP - 2))
                if long:  # a bar of no length is an error in Pillow
                    draw.rectangle((left + 1, top + _CROP + 1, left + long, top + _CROP + _BAR - 3), fill=_ATTENTION)
            left += _CROP
        first, left = first + count, left + _GAP
    whole = Image.new("RGB", (strip.width + table.width, max(strip.height, table.height)), "black")
    whole.paste(strip, (0, 0))
    whole.paste(table, (strip.width, 0))
    return np.asarray(whole)


def _crop(pixels: np.ndarray) -> Image.Image:
    """A crop at its size in the picture; an even grey if the slice is not there."""
    if pixels.min() < 0:
        return Image.new("RGB", (_CROP, _CROP), _ABSENT)
    grey = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    return grey.resize((_CROP, _CROP), Image.Resampling.BILINEAR).convert("RGB")


def _sagittal_views(grid: np.ndarray) -> list[tuple[str, np.ndarray]]:
    t1, t2, axial = (grid[SERIES.index(name)] for name in SERIES)
    right = len(t1)
    return [
        ("T1, right of the middle", _sagittal(t1[right - 1 - right // 3])),
        ("T2, middle", _sagittal(t2[right // 2])),
        ("axial T2, seen from the side", _sagittal(axial[right // 2])),
    ]


def _sagittal(plane: np.ndarray) -> np.ndarray:
    """Anterior on the left, superior on top, from a plane ``(A, S)``."""
    return plane[::-1, ::-1].T


def _axial(volume: np.ndarray) -> np.ndarray:
    """Anterior on top, the patient's right on the left, from the middle of a volume ``(R, A, S)``."""
    return volume[::-1, ::-1, volume.shape[2] // 2].T


def _panel(view: np.ndarray, caption: str, proportion: float) -> Image.Image:
    """A view below its caption; ``proportion`` is the height of its pixels against their width, in mm."""
    image = Image.fromarray((np.clip(view, 0, 1) * 255).astype(np.uint8))
    width = max(1, round(view.shape[1] / (view.shape[0] * proportion) * (_PANEL - _CAPTION_HEIGHT)))
    panel = image.resize((width, _PANEL - _CAPTION_HEIGHT), Image.Resampling.BILINEAR).convert("RGB")
    framed = Image.new("RGB", (max(width, _LEAST_WIDTH) + 6, _PANEL), "black")
    framed.paste(panel, (3, _CAPTION_HEIGHT))
    ImageDraw.Draw(framed).text((6, 2), caption, fill=_CAPTION, font=_font(15))
    return framed


def _table(probabilities: np.ndarray, label: np.ndarray, title: str) -> Image.Image:
    width, height = _CELL
    table = Image.new("RGB", (_CONDITION + 10 + width * len(Level), _PANEL), (25, 25, 25))
    draw = ImageDraw.Draw(table)
    draw.text((8, 6), title, fill="white", font=_font(16))
    for column, level in enumerate(Level):
        draw.text((_CONDITION + 8 + column * width, 34), level.title, fill="white", font=_font(15))
    for row, _ in enumerate(Condition):
        top = 58 + row * (height + 8)
        draw.text((8, top + 8), _SHORT[row], fill="white", font=_font(15))
        for column in range(len(Level)):
            n = row * len(Level) + column
            left = _CONDITION + column * width
            box = (left, top, left + width - 8, top + height)
            draw.rectangle(box, fill=_mixed(probabilities[n]), outline=_frame(int(label[n])), width=4)
            text = f"{probabilities[n, Grade.SEVERE]:.2f}"
            draw.text((left + 12, top + 8), text, fill="white", font=_font(15))
    draw.text((8, _PANEL - 46), "fill: predicted grades; frame: label", fill=_SOFT, font=_font(14))
    left = 8
    for grade in Grade:
        draw.text((left, _PANEL - 24), grade.title, fill=_COLOURS[grade], font=_font(14))
        left += round(draw.textlength(grade.title, font=_font(14))) + 14
    draw.text((left, _PANEL - 24), "number: p(severe)", fill=_SOFT, font=_font(14))
    return table


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)  # comes with Pillow: pictures look the same on every machine


def _mixed(probabilities: np.ndarray) -> tuple[int, int, int]:
    colours = np.array([_COLOURS[grade] for grade in Grade])
    red, green, blue = (probabilities @ colours * 0.8).astype(int)
    return int(red), int(green), int(blue)


def _frame(label: int) -> tuple[int, int, int]:
    return _GREY if label == MISSING else _COLOURS[Grade(label)]
