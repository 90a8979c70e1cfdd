import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from monai_spine.scoring.competition import competition_score
from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.spine import MISSING, Grade
from monai_spine.training.losses import (
    CompetitionLoss,
    any_severe,
    blended,
    severe_logit,
    soft_labels,
    worst_grade,
)


def batch(seed: int, studies: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, MISSING], size=(studies, 25), p=[0.5, 0.2, 0.2, 0.1])
    return torch.tensor(rng.normal(size=(studies, 25, 3)), requires_grad=True), torch.from_numpy(labels)


@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_the_score_of_the_softmax(seed: int) -> None:
    logits, labels = batch(seed)
    score = competition_score(labels.numpy(), logits.softmax(-1).detach().numpy())
    assert CompetitionLoss()(logits, labels).item() == pytest.approx(score.score, rel=1e-5)


def test_without_the_any_severe_term_it_is_the_mean_of_three() -> None:
    logits, labels = batch(0)
    score = competition_score(labels.numpy(), logits.softmax(-1).detach().numpy())
    mean = (score.spinal + score.foraminal + score.subarticular) / 3
    assert CompetitionLoss(any_severe=0.0)(logits, labels).item() == pytest.approx(mean, rel=1e-5)


def test_a_missing_label_has_no_gradient_and_every_other_has() -> None:
    logits, labels = batch(1)
    CompetitionLoss(any_severe=0.0)(logits, labels).backward()
    moved = logits.grad.abs().sum(-1) > 0
    assert torch.equal(moved, labels != MISSING)


def test_attention_to_marked_slices_is_one_more_part_of_the_mean() -> None:
    logits, labels = batch(1)
    attention = torch.zeros(*logits.shape[:2], 1, dtype=logits.dtype)
    attention[0, 3], attention[2, 4] = -1.0, -3.0
    told = torch.cat([logits, attention], dim=2)
    plain = CompetitionLoss()(logits, labels).item()
    assert CompetitionLoss()(told, labels).item() == pytest.approx(plain)
    assert CompetitionLoss(marked=0.5)(told, labels).item() == pytest.approx((4 * plain + 0.5 * 2.0) / 4.5)
    nothing = torch.cat([logits, torch.zeros_like(attention)], dim=2)
    assert CompetitionLoss(marked=0.5)(nothing, labels).item() == pytest.approx(plain)


def test_a_batch_without_labels_costs_nothing_and_stays_differentiable() -> None:
    logits, labels = batch(2)
    loss = CompetitionLoss()(logits, torch.full_like(labels, MISSING))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


def test_a_part_without_labels_is_left_out() -> None:
    logits, labels = batch(3)
    labels[:, :5] = MISSING
    score = competition_score(labels.numpy(), logits.softmax(-1).detach().numpy())
    assert CompetitionLoss()(logits, labels).item() == pytest.approx(
        (score.foraminal + score.subarticular) / 2, rel=1e-5
    )


def test_the_severe_logit_is_the_log_odds_of_severe() -> None:
    logits = torch.randn(7, 3)
    severe = logits.softmax(-1)[:, 2]
    assert torch.allclose(severe_logit(logits), (severe / (1 - severe)).log(), atol=1e-5)


def test_gradient_steps_lower_it() -> None:
    logits, labels = batch(4)
    loss = CompetitionLoss()
    before = loss(logits, labels)
    (gradient,) = torch.autograd.grad(before, logits)
    assert loss(logits - gradient, labels) < before


def test_two_grade_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 grade weights"):
        CompetitionLoss(grade_weights=[1, 2])


def test_a_focal_loss_minds_rows_that_are_nearly_right_less() -> None:
    labels = torch.zeros(1, 25, dtype=torch.int64)
    sure, unsure = (torch.tensor([z, 0.0, 0.0]).expand(1, 25, 3) for z in (4.0, 0.5))
    plain, focal = CompetitionLoss(any_severe=0), CompetitionLoss(any_severe=0, focal=2.0)
    assert focal(sure, labels) / plain(sure, labels) < 0.01 < focal(unsure, labels) / plain(unsure, labels)
    p = torch.tensor([0.5, 0.0, 0.0]).softmax(dim=0)[0]
    assert focal(unsure, labels) == pytest.approx(float((1 - p) ** 2 * -p.log()), rel=1e-5)


def test_an_ordinal_loss_minds_how_far_off_a_grade_is() -> None:
    labels = torch.zeros(1, 25, dtype=torch.int64)
    near, far = (torch.tensor(row).log().expand(1, 25, 3) for row in ([0.2, 0.7, 0.1], [0.2, 0.1, 0.7]))
    plain, ordinal = CompetitionLoss(any_severe=0), CompetitionLoss(any_severe=0, ordinal=0.5)
    assert plain(near, labels) == pytest.approx(float(plain(far, labels)), rel=1e-5)
    assert ordinal(near, labels) < ordinal(far, labels)
    thresholds = -(torch.tensor([0.2, 0.9]).log().mean())
    expected = 0.5 * float(plain(near, labels)) + 0.5 * float(thresholds)
    assert ordinal(near, labels) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("setting", [{"focal": -1.0}, {"ordinal": 1.5}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected focal"):
        CompetitionLoss(**setting)


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"focal": 2.0}, {"ordinal": 0.5}])
def test_soft_labels_of_one_grade_cost_what_hard_ones_do(settings: dict[str, float]) -> None:
    logits, labels = batch(5)
    loss = CompetitionLoss(**settings)
    assert loss(logits, soft_labels(labels)).item() == pytest.approx(loss(logits, labels).item(), rel=1e-6)


def test_a_soft_label_counts_as_that_many_rows_of_each_grade() -> None:
    """A quarter of one study and three quarters of another are four studies, one of these and three of those."""
    logits, labels = batch(6, studies=2)
    labels = labels.clamp(min=0)
    shares = torch.lerp(*soft_labels(labels), 0.75)[None]
    four = torch.stack([labels[0], *[labels[1]] * 3])
    loss = CompetitionLoss(any_severe=0.0)
    assert loss(logits[:1], shares).item() == pytest.approx(loss(logits[:1].expand(4, -1, -1), four).item(), rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"ordinal": 0.7}, {"focal": 2.0, "label_smoothing": 0.1}])
def test_labels_that_all_count_half_teach_the_same(settings: dict[str, float]) -> None:
    logits, labels = batch(2)
    whole, half = (CompetitionLoss(**settings)(logits, soft_labels(labels) * weight) for weight in (1.0, 0.5))
    assert half.item() == pytest.approx(whole.item(), rel=1e-5)


def test_a_canal_level_that_counts_little_does_not_say_that_nothing_is_severe() -> None:
    """Two mixed studies agree on this level by a fifth, and may both be severe there."""
    logits, labels = torch.randn(1, 5, 3), torch.tensor([[[1.0, 0.0, 0.0]] * 4 + [[0.1, 0.0, 0.1]]])
    weights = torch.tensor([1.0, 2.0, 4.0])
    loss, total = any_severe(logits, labels, weights)
    odds = severe_logit(logits).max()
    assert total == pytest.approx(0.2 * (0.5 * 1 + 0.5 * 4))
    assert loss == pytest.approx(0.2 * (0.5 * softplus(odds) + 0.5 * 4 * softplus(-odds)))


def test_one_answer_meets_a_soft_label_and_that_of_any_severe() -> None:
    """Shares times weights are the best answer to both terms, so that they do not pull against each other."""
    shares = torch.tensor([0.5, 0.2, 0.3]).expand(1, 25, 3).clone()
    shares[:, 1:5] = torch.tensor([1.0, 0.0, 0.0])
    best = (shares * torch.tensor(WEIGHTS)).clamp(min=1e-9)
    logits = best.log().float().requires_grad_()
    for share in (0.0, 1.0, 5.0):
        (gradient,) = torch.autograd.grad(CompetitionLoss(any_severe=share)(logits, shares), logits)
        assert gradient.abs().max() < 1e-4


def test_the_worst_grade_of_hard_labels_is_the_worst_grade() -> None:
    labels = torch.tensor([[0, 1, 0], [0, MISSING, 0], [2, 1, MISSING], [MISSING] * 3])
    found = worst_grade(soft_labels(labels))
    assert torch.equal(found[:3].argmax(dim=1), torch.tensor([1, 0, 2]))
    assert torch.equal(found.sum(dim=1), torch.tensor([1.0, 1.0, 1.0, 0.0]))


def test_a_blend_sums_to_one_where_both_are_known_and_is_missing_elsewhere() -> None:
    labels = torch.tensor([[0, 2, MISSING, MISSING, 1]])
    others = torch.tensor([[1, MISSING, 0, MISSING, 1]])
    shares = torch.full((1, 5), 0.25)
    given = blended(soft_labels(labels), soft_labels(others), shares)
    assert torch.allclose(given.sum(dim=-1), torch.tensor([[1.0, 0, 0, 0, 1]]))
    assert torch.allclose(given[0, 0], torch.tensor([0.75, 0.25, 0]))
    assert torch.equal(blended(soft_labels(labels), soft_labels(others), shares * 0), soft_labels(labels))


def test_soft_labels_that_are_missing_have_no_gradient() -> None:
    logits, labels = batch(7)
    CompetitionLoss()(logits, soft_labels(labels)).backward()
    assert not logits.grad[labels == MISSING].any()
    assert logits.grad.isfinite().all()
    assert soft_labels(labels).shape == (*labels.shape, len(Grade))
