import numpy as np
import pytest
from sklearn.metrics import log_loss

from monai_spine.images.evaluation.ranked_images import rank_by_loss
from monai_spine.spine import MISSING

CLASSES = ["a", "b", "c"]


def test_the_image_with_the_greatest_cross_entropy_comes_first() -> None:
    rows = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]])
    ranked = rank_by_loss(np.array([0, 1, 0, MISSING]), rows, [4, 5, 6, 7], CLASSES)
    assert [image.case for image in ranked] == [5, 6, 4]
    assert [image.correct for image in ranked] == [False, False, True]
    assert ranked[0].caption == "is b 0.10, said c 0.80"
    assert ranked[0].explained_class == 2
    assert np.mean([image.loss for image in ranked]) == pytest.approx(log_loss([0, 1, 0], rows[:3], labels=[0, 1, 2]))


def test_of_several_labels_the_wrong_ones_are_named_first_and_unknown_ones_never() -> None:
    labels = np.array([[1, 0, MISSING], [1, 0, 1]])
    rows = np.array([[0.2, 0.9, 0.9], [0.6, 0.1, 0.9]])
    worst, best = rank_by_loss(labels, rows, [0, 1], CLASSES)
    assert worst.caption == "wrongly b 0.90, missed a 0.20"
    assert worst.explained_class == 1
    assert not worst.correct
    assert best.caption == "a 0.60, c 0.90"
    assert best.correct
    assert best.explained_class == 2
    assert best.loss == pytest.approx(-np.log([0.6, 0.9, 0.9]).mean())
