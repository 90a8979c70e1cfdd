"""The picture ``levels.png`` of a study: the slice through the canal with the levels, and axial planes as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monai_spine.data.coverage import Grid
from monai_spine.geometry import Array, spacing, to_voxel
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.sagittal.doubts import Flag
from monai_spine.levels.sagittal.maps import Floats
from monai_spine.levels.sagittal.points import LevelPoint, Structure
from monai_spine.spine import Side

_PIXELS_PER_MM = 2.5
_MARGIN_PIXELS = 190
"""Space on the right for the names of levels."""
_LINE_PIXELS = 18
"""Height of a line of text."""
_SURE, _UNSURE, _PLANE = (90, 220, 120), (250, 190, 60), (200, 120, 220)
_QUIET = (170, 170, 170)
_LEGEND = ((_SURE, "found, without a flag"), (_UNSURE, "doubtful: has a flag"), (_PLANE, "axial plane of a level"))
_MARKS = (
    "cross: canal at the disc, with its confidence",
    "circle: foramen, triangle: recess; filled: left side, open: right side",
)
_OPEN_PIXELS, _FILLED_PIXELS = 7, 4
"""Half sizes of marks: the left side's and the right side's often lie at one place, and both are to be seen."""
_WITHOUT_DOUBT = {"marked"}
"""Flags that do not make a point doubtful."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]


def level_picture(
    image: Floats, affine: Array, located: LocatedStudy, axial: Mapping[str, Grid], series: str = ""
) -> Image.Image:
    """An RGB picture of the middle slice, seen from the patient's left: anterior on the left, superior on top.

    Points of both sides are projected onto it. Everything that has a flag is drawn in the colour of doubt, also the
    line of an axial plane whose recesses have one. A legend, the names of the series with their slices, and the reasons
    of doubt are below the slice.

    ``image``, ``affine``: ``(x, y, z)`` as `monai_spine.levels.sagittal.grid.sagittal_grid` makes it, and its affine to
    RAS mm. ``series``: the volume's name.
    """
    canal = [point for point in located.points if point.structure is Structure.CANAL]
    voxels = to_voxel(affine, np.array([point.world for point in located.points]).reshape(-1, 3))
    middle = voxels[[point.structure is Structure.CANAL for point in located.points], 0]
    k = int(np.clip(np.rint(np.median(middle)) if canal else len(image) // 2, 0, len(image) - 1))
    # Without a spine the statuses of the volumes say why.
    reasons = [doubt.value for doubt in located.doubts] if canal else sorted(set(located.volumes.values()))
    shown = f"slice {k} of 0 to {len(image) - 1} from the patient's left, on the localizer's grid"
    notes = [f"{series}: {shown}"] * bool(series)
    notes += _planes_in_words(located)
    picture, height = _slice(image[k], affine, lines=len(_LEGEND) + 1 + len(_MARKS) + len(notes) + len(reasons))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    size = (image.shape[1], image.shape[2])
    for level, (name, slice_, _) in located.planes.items():
        recesses = [point for point in located.points if (point.structure, point.level) == (Structure.RECESS, level)]
        colour = _UNSURE if any(_colour(point) == _UNSURE for point in recesses) else _PLANE
        _plane_line(draw, affine, k, size, axial[name], slice_, colour)
    for point, voxel in zip(located.points, voxels, strict=True):
        at = _pixel(voxel, affine, size)
        if point.structure is Structure.CANAL:
            _mark(draw, font, point, at, picture.width - _MARGIN_PIXELS)
        else:
            _side_mark(draw, point, at)
    right = picture.width - _MARGIN_PIXELS
    draw.text((8, 6), located.study, fill="white", font=font)
    draw.text((8, 26), "anterior", fill=_QUIET, font=font)
    draw.text((right - 8, 26), "posterior", fill=_QUIET, font=font, anchor="ra")
    quiet = [(_QUIET, text) for text in (*notes, *_MARKS)]
    _texts(draw, font, height, [*quiet, *_LEGEND, *((_UNSURE, text) for text in reasons)])
    return picture


def _planes_in_words(located: LocatedStudy) -> list[str]:
    """A line for each axial stack: its slices, as lines of the picture show them, and their levels."""
    stacks: dict[str, list[str]] = {}
    for level, (name, slice_, _) in located.planes.items():
        stacks.setdefault(name, []).append(f"{slice_} ({level.title})")
    return [
        f"{name}: slice{'s' * (len(shown) > 1)} {', '.join(shown)}, counted from 0 as in the file"
        for name, shown in stacks.items()
    ]


def _side_mark(draw: ImageDraw.ImageDraw, point: LevelPoint, at: tuple[float, float]) -> None:
    """A circle at a foramen, a triangle at a recess: filled on the left side, open on the right side."""
    left = point.side is Side.LEFT
    (x, y), half = at, _FILLED_PIXELS if left else _OPEN_PIXELS
    colour = _colour(point)
    if point.structure is Structure.FORAMEN:
        draw.ellipse((x - half, y - half, x + half, y + half), outline=colour, fill=colour if left else None, width=2)
    else:
        corners = [(x - half, y + half), (x + half, y + half), (x, y - half)]
        draw.polygon(corners, outline=colour, fill=colour if left else None)


def _texts(draw: ImageDraw.ImageDraw, font: Font, top: int, lines: Sequence[tuple[Colour, str]]) -> None:
    """Lines of text below each other."""
    for n, (colour, text) in enumerate(lines):
        draw.text((8, top + n * _LINE_PIXELS + 4), text, fill=colour, font=font)


def _colour(point: LevelPoint) -> Colour:
    """The colour of doubt for a point with a flag."""
    return _UNSURE if set(point.flags) - _WITHOUT_DOUBT else _SURE


def _slice(plane: np.ndarray, affine: Array, lines: int) -> tuple[Image.Image, int]:
    """A slice ``(y, z)`` as a picture, with a black margin on the right and room for lines of text; its own height."""
    step = spacing(affine)
    shown = Image.fromarray((np.clip(plane[::-1, ::-1].T, 0, 1) ** 0.8 * 255).astype(np.uint8))
    width, height = round(plane.shape[0] * step[1] * _PIXELS_PER_MM), round(plane.shape[1] * step[2] * _PIXELS_PER_MM)
    picture = Image.new("RGB", (width + _MARGIN_PIXELS, height + lines * _LINE_PIXELS), "black")
    picture.paste(shown.resize((width, height), Image.Resampling.BICUBIC).convert("RGB"), (0, 0))
    return picture, height


def _pixel(voxel: Array, affine: Array, size: tuple[int, int]) -> tuple[float, float]:
    """Place of a voxel ``(x, y, z)`` in the picture; ``size`` counts the slice's columns and rows."""
    step = spacing(affine)
    x = (size[0] - 0.5 - voxel[1]) * step[1] * _PIXELS_PER_MM
    y = (size[1] - 0.5 - voxel[2]) * step[2] * _PIXELS_PER_MM
    return float(x), float(y)


def _mark(draw: ImageDraw.ImageDraw, font: Font, point: LevelPoint, at: tuple[float, float], right: int) -> None:
    """A cross at the canal, and the level's name at the edge."""
    uncertain, colour = Flag.UNCERTAIN_LEVEL.value in point.flags, _colour(point)
    x, y = at
    draw.line((x - 6, y, x + 6, y), fill=colour, width=2)
    draw.line((x, y - 6, x, y + 6), fill=colour, width=2)
    draw.line((x + 10, y, right, y), fill=tuple(value // 2 for value in colour))
    draw.text(
        (right + 4, y - 8),
        f"{point.level.title}{'?' if uncertain else ''}  {point.confidence:.2f}",
        fill=colour,
        font=font,
    )
    # The question mark shows the flag that all points share.
    own = [flag for flag in point.flags if flag != Flag.UNCERTAIN_LEVEL.value]
    draw.text((right + 4, y + 6), " ".join(own), fill=colour, font=ImageFont.load_default(11))


def _plane_line(  # noqa: PLR0917 - a drawing, a view, a plane
    draw: ImageDraw.ImageDraw,
    affine: Array,
    k: int,
    size: tuple[int, int],
    grid: Grid,
    slice_: int,
    colour: Colour,
) -> None:
    """Draw the line in which an axial slice crosses the sagittal slice ``k``, with the slice's number."""
    # Points of the axial plane that lie close to the sagittal slice; the outermost two are the ends of the line.
    i, j = np.meshgrid(np.linspace(-0.5, grid.shape[0] - 0.5, 80), np.linspace(-0.5, grid.shape[1] - 0.5, 80))
    voxels = np.stack([i, j, np.full_like(i, slice_)], axis=-1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    in_sagittal = to_voxel(affine, voxels.reshape(-1, 3))
    near = in_sagittal[np.abs(in_sagittal[:, 0] - k) < 0.6]
    if len(near) > 1:
        ends = near[[np.argmin(near[:, 1]), np.argmax(near[:, 1])]]
        (x0, y0), (x1, y1) = (_pixel(end, affine, size) for end in ends)
        draw.line((x0, y0, x1, y1), fill=colour, width=1)
        at = min(((x0, y0), (x1, y1)))
        draw.text((max(2, at[0] + 2), at[1] - 13), str(slice_), fill=colour, font=ImageFont.load_default(11))
