import pytest
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.class_balance import class_weights, draw_probabilities, frequencies


def records(labels: list) -> list[dict]:
    return [{"image": [str(n)], "label": label} for n, label in enumerate(labels)]


def test_balanced_weights_make_classes_count_equally() -> None:
    images = records([0] * 6 + [1] * 3 + [2])
    weights = class_weights("balanced", images, 3)
    assert torch.allclose(weights * torch.tensor([6.0, 3.0, 1.0]), torch.full((3,), 10 / 3))
    drawn = draw_probabilities(images, 3)
    assert drawn[:6].sum() == pytest.approx(1 / 3)
    assert drawn[9] == pytest.approx(1 / 3)


def test_an_image_without_any_label_is_drawn_as_one_of_the_most_frequent_group() -> None:
    mostly_none = draw_probabilities(records([[1, 0], [0, 0], [0, 0], [0, 0]]), 2)
    assert mostly_none[0] / mostly_none[1] == pytest.approx((1 - 0.25 - 1e-3) / 0.25)
    mostly_first = draw_probabilities(records([[1, 0], [1, 0], [1, 0], [0, 0], [-1, 1]]), 2)
    assert mostly_first[3] == mostly_first[0]
    assert mostly_first[4] / mostly_first[0] == pytest.approx(0.75 / 0.2)


def test_a_class_that_nobody_has_weighs_as_one_of_a_thousandth() -> None:
    assert torch.allclose(class_weights("balanced", records([0, 0, 1, 1]), 3), torch.tensor([2 / 3, 2 / 3, 1000 / 3]))
    assert torch.allclose(class_weights("balanced", records([[1, 0], [1, 0]]), 2), torch.tensor([1 / 999, 999.0]))


def test_unknown_labels_count_neither_as_present_nor_as_absent() -> None:
    assert frequencies(records([0, 1, 1, -1]), 2).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert frequencies(records([[-1], [-1]]), 1).tolist() == [0]


def test_explicit_weights_are_used_as_they_are() -> None:
    assert class_weights(None, records([0]), 2) is None
    assert class_weights([1, 2.5], records([0]), 2).tolist() == [1, 2.5]


def test_with_several_labels_presence_counts_as_much_as_absence() -> None:
    images = records([[1, 0], [0, 0], [0, -1], [0, 1]])
    assert torch.allclose(frequencies(images, 2), torch.tensor([0.25, 1 / 3]))
    assert torch.allclose(class_weights("balanced", images, 2), torch.tensor([3.0, 2.0]))
    drawn = draw_probabilities(images, 2)
    assert drawn[0] > drawn[3] > drawn[1]
    with pytest.raises(InvalidOptionError, match="'balanced'"):
        class_weights("fair", images, 2)
