import numpy as np

from monai_spine.spine import SeriesType
from monai_spine.training.tensorboard.pictures import crops_picture, study_picture

HEIGHT = 320 - 24
"""Of a view, below its caption."""
STEP = (6.0, 2.5, 2.5)


def picture(grid: np.ndarray | None = None, grade: int = 0, label: int = 0) -> np.ndarray:
    grid = np.zeros((6, 12, 56, 80)) if grid is None else grid
    rows = np.tile(np.eye(3)[grade], (25, 1))
    return study_picture(grid, STEP, rows, np.full(25, label), "study 1")


def test_a_picture_is_rgb_in_bytes() -> None:
    drawn = picture()
    assert drawn.dtype == np.uint8
    assert drawn.ndim == 3
    assert drawn.shape[2] == 3


def test_what_is_predicted_and_what_is_labelled_both_change_the_table() -> None:
    plain = picture()
    assert not np.array_equal(plain, picture(grade=2))
    assert not np.array_equal(plain, picture(label=2))
    assert not np.array_equal(plain, picture(label=-1))


def test_the_front_of_the_patient_is_on_the_left_of_a_sagittal_view_and_the_head_on_top() -> None:
    grid = np.zeros((6, 12, 56, 80))
    grid[list(SeriesType).index(SeriesType.SAGITTAL_T2), 6, -10:, -10:] = 1
    difference = np.abs(picture(grid).astype(int) - picture()).sum(axis=-1)
    width = round(56 / 80 * HEIGHT) + 6
    view = difference[-HEIGHT:, width : 2 * width]
    rows, columns = np.nonzero(view)
    assert rows.mean() < HEIGHT / 4
    assert columns.mean() < width / 2


def test_the_patients_right_is_on_the_left_of_the_axial_view() -> None:
    grid = np.zeros((6, 12, 56, 80))
    grid[list(SeriesType).index(SeriesType.AXIAL_T2), -2:, -20:, 40] = 1
    difference = np.abs(picture(grid).astype(int) - picture()).sum(axis=-1)
    sagittal = round(56 / 80 * HEIGHT) + 6
    axial = round(12 / (56 * 2.5 / 6.0) * HEIGHT) + 6
    view = difference[-HEIGHT:, 3 * sagittal : 3 * sagittal + axial]
    rows, columns = np.nonzero(view)
    assert columns.mean() < axial / 2
    assert rows.mean() < HEIGHT / 2


def test_crops_have_titles_of_rows_and_columns_and_absent_slices_are_grey() -> None:
    crops = np.full((5, 8, 16, 16), 1.0)
    crops[1, 2] = -1
    views = {"canal": 3, "disc": 5}
    answer = {"probabilities": np.tile(np.eye(3)[0], (25, 1)), "label": np.zeros(25, int), "title": "study 1"}
    attention = np.ones((5, 5, 8))
    attention[:, :, 1] = 0  # a slice that nothing attends to has no bar
    drawn = crops_picture(crops, attention, views, **answer)
    left, top, side, bar = 62, 46, 96, 8
    assert drawn[:top, left : left + 3 * side].any()  # names of views and numbers of slices
    assert all(drawn[top + row * (side + bar) :][:side, :left].any() for row in range(5))  # names of levels
    assert (drawn[top + side + bar :][:side, left + 2 * side :][:, :side] == 40).all()
    assert (drawn[top : top + side, left : left + side] == 255).all()
    bars = drawn[top + side + 3, left : left + 3 * side].reshape(3, side, 3).any(axis=(1, 2))
    assert list(bars) == [True, False, True]
    other = crops_picture(crops, np.ones((5, 5, 8)), {"foramina": 3, "disc": 5}, **answer)
    assert not np.array_equal(drawn[:top], other[:top])
