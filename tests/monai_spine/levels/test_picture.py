"""The picture of the levels: sides, colours of doubt, and what is written below it."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageDraw, ImageFont

from monai_spine.data.coverage import Grid
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.picture import level_picture
from monai_spine.levels.sagittal.doubts import Doubt
from monai_spine.levels.sagittal.points import LevelPoint, Structure
from monai_spine.spine import Level, Side

SURE, UNSURE, PLANE = (90, 220, 120), (250, 190, 60), (200, 120, 220)
SIZE = (6, 80, 70)
AFFINE = np.diag([4.0, 2.0, 2.0, 1.0])
"""Slices 4 mm apart, pixels of 2 mm, which are 5 pixels of the picture."""
PLACES = {
    (Structure.CANAL, None): (8.0, 40.0, 80.0),
    (Structure.FORAMEN, Side.LEFT): (0.0, 60.0, 100.0),
    (Structure.FORAMEN, Side.RIGHT): (20.0, 60.0, 60.0),
    (Structure.RECESS, Side.LEFT): (4.0, 80.0, 100.0),
    (Structure.RECESS, Side.RIGHT): (16.0, 80.0, 60.0),
}
AXIAL = Grid(np.array([[2.0, 0, 0, -10.0], [0, 2.0, 0, 0.0], [0, 0, 4.0, 0.0], [0, 0, 0, 1]]), (40, 60, 30))


def points(*flags: str) -> tuple[LevelPoint, ...]:
    return tuple(
        LevelPoint(kind, Level.L4_L5, side, np.array(place), 0.8, flags) for (kind, side), place in PLACES.items()
    )


STUDY = LocatedStudy("study", points(), (), {}, {Level.L4_L5: ("axial_t2", 5, 1.0)})


def drawn(study: LocatedStudy = STUDY, image: np.ndarray | None = None) -> np.ndarray:
    shown = np.zeros(SIZE, np.float32) if image is None else image
    return np.asarray(level_picture(shown, AFFINE, study, {"axial_t2": AXIAL}, "sagittal_t2"))


def at(place: tuple[float, float, float]) -> tuple[int, int]:
    """Row and column of a place in RAS mm: the front is on the left, the head at the top."""
    return round((SIZE[2] - 0.5 - place[2] / 2) * 5), round((SIZE[1] - 0.5 - place[1] / 2) * 5)


def colours(picture: np.ndarray, place: tuple[float, float, float], half: int = 9) -> set[tuple[int, ...]]:
    row, column = at(place)
    part = picture[row - half : row + half + 1, column - half : column + half + 1]
    return {tuple(int(value) for value in pixel) for pixel in part.reshape(-1, 3)}


def test_the_front_is_on_the_left_and_the_head_at_the_top() -> None:
    image = np.zeros(SIZE, np.float32)
    image[:, 40:, :] = 1.0  # in front
    image[:, :, 50:] = 1.0  # above
    picture = drawn(replace(STUDY, points=(), planes={}), image)
    height, width = SIZE[2] * 5, SIZE[1] * 5
    assert picture[height // 2, 50].min() > 200
    assert picture[height // 2, width - 50].max() < 60
    assert picture[60, width - 50].min() > 200
    assert picture[height - 20, width - 50].max() < 60


@pytest.mark.parametrize(("flags", "colour"), [((), SURE), (("marked",), SURE), (("faint",), UNSURE)])
def test_points_of_both_sides_are_drawn_in_the_colour_of_their_flags(flags: tuple[str, ...], colour: tuple) -> None:
    picture = drawn(replace(STUDY, points=points(*flags)))
    for place in PLACES.values():
        assert colour in colours(picture, place)
        assert ({SURE, UNSURE} - {colour}).isdisjoint(colours(picture, place))


@pytest.mark.parametrize("kind", [Structure.FORAMEN, Structure.RECESS])
def test_marks_of_the_left_side_are_filled_and_those_of_the_right_side_open(kind: Structure) -> None:
    picture = drawn()
    left, right = (at(PLACES[kind, side]) for side in (Side.LEFT, Side.RIGHT))
    assert tuple(picture[left]) == SURE
    assert tuple(picture[right]) == (0, 0, 0)


@pytest.mark.parametrize(("flags", "colour"), [((), PLANE), (("projected",), UNSURE)])
def test_the_line_of_an_axial_plane_has_the_colour_of_its_recesses(flags: tuple[str, ...], colour: tuple) -> None:
    canal, *others = points()
    recesses = [replace(one, flags=flags) for one in others if one.structure is Structure.RECESS]
    picture = drawn(replace(STUDY, points=(canal, *recesses)))
    row, _ = at((0, 0, 20))  # slice 5 of planes 4 mm apart
    line = picture[row - 1 : row + 2, 30 : SIZE[1] * 5 - 30].reshape(-1, 3)
    assert (line == colour).all(axis=1).sum() > 100
    assert not (line == ({PLANE, UNSURE} - {colour}).pop()).all(axis=1).any()


def texts(monkeypatch: pytest.MonkeyPatch, study: LocatedStudy) -> list[str]:
    written: list[str] = []
    real = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, place: tuple[float, float], words: str, **options: object) -> None:
        written.append(words)
        real(self, place, words, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    width = drawn(study).shape[1]
    font = ImageFont.load_default(14)
    assert all(font.getlength(words) < width - 8 for words in written)
    return written


def test_series_slices_legend_and_doubts_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written = texts(monkeypatch, replace(STUDY, doubts=(Doubt.RIVAL,)))
    for text in (
        *("study", "anterior", "posterior", "L4/L5  0.80", Doubt.RIVAL.value),
        "sagittal_t2: slice 2 of 0 to 5 from the patient's left, on the localizer's grid",
        "axial_t2: slice 5 (L4/L5), counted from 0 as in the file",
        *("found, without a flag", "doubtful: has a flag", "axial plane of a level"),
        "circle: foramen, triangle: recess; filled: left side, open: right side",
    ):
        assert text in written
