import pytest
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.class_balance import class_weights, draw_probabilities, frequencies


def records(labels: list) -> list[dict]:
    return [{"image": [str(n)], "label": label} for n, label in enumerate(labels)]


def test_balanced_weights_make_classes_count_equally() -> None:
    given = records([0] * 6 + [1] * 3 + [2])
    weights = class_weights("balanced", given, 3)
    assert torch.allclose(weights * torch.tensor([6.0, 3.0, 1.0]), torch.full((3,), 10 / 3))
    drawn = draw_probabilities(given, 3)
    assert drawn[:6].sum() == pytest.approx(1 / 3)
    assert drawn[9] == pytest.approx(1 / 3)


def test_of_several_labels_presence_counts_as_much_as_absence() -> None:
    given = records([[1, 0], [0, 0], [0, -1], [0, 1]])
    assert torch.allclose(frequencies(given, 2), torch.tensor([0.25, 1 / 3]))
    assert torch.allclose(class_weights("balanced", given, 2), torch.tensor([3.0, 2.0]))
    drawn = draw_probabilities(given, 2)
    assert drawn[0] > drawn[3] > drawn[1]
    with pytest.raises(InvalidOptionError, match="'balanced'"):
        class_weights("fair", given, 2)
