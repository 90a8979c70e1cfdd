"""Pictures of studies: the middle of each series, with labels and predictions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from monai_spine.spine import MISSING, Condition, Grade, Level, SeriesType

Picture = npt.NDArray[np.uint8]

SERIES = tuple(SeriesType)

_COLOURS = {Grade.NORMAL_MILD: (70, 160, 90), Grade.MODERATE: (230, 170, 40), Grade.SEVERE: (205, 60, 50)}
_GREY = (110, 110, 110)
_ATTENTION = (250, 190, 60)
_PANEL = 220
"""Height of a panel in pixels."""
_CELL = (44, 26)
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
    views: Sequence[int],
    *,
    probabilities: npt.ArrayLike,
    label: npt.ArrayLike,
    title: str,
) -> Picture:
    """The crops of a study, a row for each level, with their attention weights, and the table of its findings.

    Parameters
    ----------
    crops
        ``(5, slices, rows, columns)`` from 0 to 1; below 0 where a slice is not there.
    attention
        ``(5, 5 conditions, slices)``: the bar under each slice is as long as the greatest of its weights, as a share
        of the greatest weight in its view.
    views
        The number of slices of each view; views are drawn with a gap between them.
    probabilities, label
        As `study_picture` takes them.
    """
    pixels, weights = np.asarray(crops, dtype=np.float32), np.asarray(attention, dtype=np.float32).max(axis=1)
    gap, bar = 6, 5
    height, width = pixels.shape[2], pixels.shape[3]
    strip = np.zeros((len(Level) * (height + bar), pixels.shape[1] * width + gap * (len(views) - 1), 3), np.uint8)
    first, left = 0, 0
    for count in views:
        strongest = np.maximum(weights[:, first : first + count].max(axis=1), 1e-6)
        for n in range(first, first + count):
            for level in range(len(Level)):
                top = level * (height + bar)
                there = pixels[level, n].min() >= 0
                shown = np.clip(pixels[level, n], 0, 1) * 255 if there else np.full((height, width), 40.0)
                strip[top : top + height, left : left + width] = shown[..., None].astype(np.uint8)
                long = round(float(weights[level, n] / strongest[level]) * (width - 2))
                strip[top + height + 1 : top + height + bar - 1, left + 1 : left + 1 + long] = _ATTENTION
            left += width
        first, left = first + count, left + gap
    table = np.asarray(_table(np.asarray(probabilities, dtype=np.float64), np.asarray(label), title))
    whole = np.zeros((max(len(strip), len(table)), strip.shape[1] + table.shape[1], 3), np.uint8)
    whole[: len(strip), : strip.shape[1]] = strip
    whole[: len(table), strip.shape[1] :] = table
    return whole


def _sagittal_views(grid: np.ndarray) -> list[tuple[str, np.ndarray]]:
    t1, t2, axial = (grid[SERIES.index(kind)] for kind in SERIES)
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
    """A view at the panel's height; ``proportion`` is the height of its pixels against their width, in mm."""
    image = Image.fromarray((np.clip(view, 0, 1) * 255).astype(np.uint8))
    width = max(1, round(view.shape[1] / (view.shape[0] * proportion) * _PANEL))
    panel = image.resize((width, _PANEL), Image.Resampling.BILINEAR).convert("RGB")
    framed = Image.new("RGB", (width + 6, _PANEL), "black")
    framed.paste(panel, (3, 0))
    ImageDraw.Draw(framed).text((6, 2), caption, fill=(240, 220, 120))
    return framed


def _table(probabilities: np.ndarray, label: np.ndarray, title: str) -> Image.Image:
    width, height = _CELL
    table = Image.new("RGB", (80 + width * len(Level), _PANEL), (25, 25, 25))
    draw = ImageDraw.Draw(table)
    draw.text((6, 4), title, fill="white")
    for column, level in enumerate(Level):
        draw.text((84 + column * width, 24), level.title, fill="white")
    for row, _ in enumerate(Condition):
        top = 42 + row * (height + 6)
        draw.text((6, top + 6), _SHORT[row], fill="white")
        for column in range(len(Level)):
            n = row * len(Level) + column
            left = 82 + column * width
            box = (left, top, left + width - 6, top + height)
            draw.rectangle(box, fill=_mixed(probabilities[n]), outline=_frame(int(label[n])), width=4)
            draw.text((left + 8, top + 7), f"{probabilities[n, Grade.SEVERE]:.2f}", fill="white")
    draw.text((6, _PANEL - 18), "fill: predicted   frame: label   number: p(severe)", fill=(170, 170, 170))
    return table


def _mixed(probabilities: np.ndarray) -> tuple[int, int, int]:
    colours = np.array([_COLOURS[grade] for grade in Grade])
    red, green, blue = (probabilities @ colours * 0.8).astype(int)
    return int(red), int(green), int(blue)


def _frame(label: int) -> tuple[int, int, int]:
    return _GREY if label == MISSING else _COLOURS[Grade(label)]
