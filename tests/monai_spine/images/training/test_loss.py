import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from monai_spine.errors import InvalidOptionError
from monai_spine.images.training.loss import ClassificationLoss

WEIGHTS = [1.0, 3.0, 0.5]


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.arange(40) % 3


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_one_class_is_torchs_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float, weights: list | None
) -> None:
    loss = ClassificationLoss(several=False, classes=3, class_weights=weights, label_smoothing=smoothing)
    given = None if weights is None else torch.tensor(weights)
    expected = cross_entropy(logits, labels, weight=given, label_smoothing=smoothing)
    assert torch.allclose(loss(logits, labels), expected)
    shares = torch.nn.functional.one_hot(labels, 3).float()
    assert torch.allclose(loss(logits, shares), expected)


def test_several_labels_are_torchs_binary_cross_entropy(logits: torch.Tensor) -> None:
    labels = (logits.roll(1, 0) > 0).long()
    loss = ClassificationLoss(several=True, classes=3, class_weights=WEIGHTS)
    expected = binary_cross_entropy_with_logits(logits, labels.float(), pos_weight=torch.tensor(WEIGHTS))
    assert torch.allclose(loss(logits, labels), expected)


def test_unknown_labels_have_no_gradient(logits: torch.Tensor, labels: torch.Tensor) -> None:
    for several in (False, True):
        given = (logits > 0).long() if several else labels.clone()
        given[5:9] = -1
        free = logits.clone().requires_grad_()
        ClassificationLoss(several=several, classes=3)(free, given).backward()
        assert (free.grad[5:9] == 0).all()
        assert (free.grad[9:] != 0).any(dim=1).all()


def test_focal_is_lins_formula(logits: torch.Tensor, labels: torch.Tensor) -> None:
    right = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert torch.allclose(ClassificationLoss(several=False, classes=3, focal=2.0)(logits, labels), expected)
    yes = (logits > 0.3).long()
    right = torch.where(yes == 1, logits.sigmoid(), (-logits).sigmoid())
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert torch.allclose(ClassificationLoss(several=True, classes=3, focal=2.0)(logits, yes), expected, atol=1e-6)


def test_logit_adjustment_is_satisfied_by_balanced_answers() -> None:
    """With the prior added, logits that are equal for all classes already answer the prior: no gradient is left."""
    prior = torch.tensor([0.7, 0.2, 0.1])
    labels = torch.tensor([0] * 7 + [1] * 2 + [2])
    even = torch.zeros(10, 3, requires_grad=True)
    ClassificationLoss(several=False, classes=3, logit_adjustment=1.0, prior=prior)(even, labels).backward()
    assert torch.allclose(even.grad.sum(dim=0), torch.zeros(3), atol=1e-6)


def test_no_known_label_is_no_loss(logits: torch.Tensor) -> None:
    loss = ClassificationLoss(several=True, classes=3)(logits, torch.full((40, 3), -1))
    assert loss == 0


def test_numbers_out_of_range_are_refused() -> None:
    for wrong in ({"focal": -1.0}, {"label_smoothing": 1.0}, {"logit_adjustment": -1.0}, {"class_weights": [1.0]}):
        with pytest.raises(InvalidOptionError):
            ClassificationLoss(several=False, classes=3, **wrong)
