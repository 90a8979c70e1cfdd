import numpy as np
import pytest
from sklearn.metrics import log_loss

from monai_spine.images.evaluation.judgement import judgements
from monai_spine.images.evaluation.sheet import Tile, sheet
from monai_spine.spine import MISSING

CLASSES = ["a", "b", "c"]


def test_the_image_with_the_greatest_cross_entropy_comes_first() -> None:
    rows = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]])
    found = judgements(np.array([0, 1, 0, MISSING]), rows, [4, 5, 6, 7], CLASSES)
    assert [one.case for one in found] == [5, 6, 4]
    assert [one.right for one in found] == [False, False, True]
    assert found[0].said == "is b 0.10, said c 0.80"
    assert found[0].about == 2
    assert np.mean([one.loss for one in found]) == pytest.approx(log_loss([0, 1, 0], rows[:3], labels=[0, 1, 2]))


def test_of_several_labels_the_wrong_ones_are_named_first_and_unknown_ones_never() -> None:
    labels = np.array([[1, 0, MISSING], [1, 0, 1]])
    rows = np.array([[0.2, 0.9, 0.9], [0.6, 0.1, 0.9]])
    worst, best = judgements(labels, rows, [0, 1], CLASSES)
    assert worst.said == "wrongly b 0.90, missed a 0.20"
    assert worst.about == 1
    assert not worst.right
    assert best.said == "a 0.60, c 0.90"
    assert best.right
    assert best.about == 2
    assert best.loss == pytest.approx(-np.log([0.6, 0.9, 0.9]).mean())


def test_a_sheet_holds_every_tile_with_its_frame() -> None:
    picture = np.full((20, 10, 3), 128, np.uint8)
    right, wrong = sheet([Tile((picture,), ("x",), True)]), sheet([Tile((picture,), ("x" * 99,), False)])
    assert right.shape == wrong.shape
    assert (right[4, 4] != wrong[4, 4]).any()
    assert right[4, 4].argmax() == 1
    assert wrong[4, 4].argmax() == 0
    many = sheet([Tile((picture, picture), ("x", "y"), None)] * 7)
    assert many.shape[1] <= 1200
    assert (many == 128).all(axis=-1).sum() > 7 * 2 * 80 * 170
