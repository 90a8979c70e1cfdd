from __future__ import annotations

import numpy as np
import pytest

from monai_spine.scoring.competition import competition_score
from monai_spine.spine import Group, columns_of
from monai_spine.tables.pooling import GroupLoss, equal_weights, fit_weights, pool
from tests.monai_spine.tables.files import simulated


def test_the_groups_losses_add_up_to_the_competitions_score() -> None:
    import torch

    simulation = simulated()
    rows = simulation.submissions[0]
    score = competition_score(simulation.labels, rows)
    expected = {
        Group.SPINAL: (score.spinal + score.any_severe_spinal) / 2,
        Group.FORAMINAL: score.foraminal,
        Group.SUBARTICULAR: score.subarticular,
    }
    for group, value in expected.items():
        loss = GroupLoss(simulation.labels, group)
        logits = torch.from_numpy(np.log(rows))[:, loss.columns].float()
        assert float(loss(logits)) == pytest.approx(value, rel=1e-4)


def test_the_plain_mean_is_the_mean_of_probabilities() -> None:
    submissions = simulated().submissions
    assert np.allclose(pool(submissions, equal_weights(3)), submissions.mean(axis=0))
    assert all(weights == pytest.approx([1 / 3] * 3) for weights in equal_weights(3).values())


def test_the_best_of_several_models_gets_the_weight_where_the_others_know_nothing() -> None:
    simulation = simulated()
    submissions = np.stack([np.full_like(simulation.submissions[0], 1 / 3), simulation.submissions[0]])
    for group, weights in fit_weights(simulation.labels, submissions).items():
        assert weights[1] > 0.9, group
        assert weights.sum() == pytest.approx(1)
        assert (weights >= 0).all()


def test_models_that_say_the_same_share_the_weight() -> None:
    simulation = simulated()
    for weights in fit_weights(simulation.labels, simulation.submissions[[0, 0]]).values():
        assert weights == pytest.approx([0.5, 0.5], abs=1e-3)


def test_fitted_weights_score_no_worse_than_equal_ones_on_what_they_were_fitted_to() -> None:
    simulation = simulated()
    fitted = pool(simulation.submissions, fit_weights(simulation.labels, simulation.submissions))
    mean = simulation.submissions.mean(axis=0)
    assert competition_score(simulation.labels, fitted).score < competition_score(simulation.labels, mean).score


def test_each_group_is_pooled_with_its_own_weights() -> None:
    submissions = simulated().submissions[:2, :5]
    weights = {group: np.array([share, 1 - share]) for group, share in zip(Group, (0.0, 0.25, 1.0), strict=True)}
    pooled = pool(submissions, weights)
    for group, share in zip(Group, (0.0, 0.25, 1.0), strict=True):
        own = columns_of(group)
        assert pooled[:, own] == pytest.approx(share * submissions[0][:, own] + (1 - share) * submissions[1][:, own])


def test_pooled_rows_have_the_sum_1_whatever_the_submissions_sums_are() -> None:
    assert pool(np.full((2, 3, 25, 3), 0.2), equal_weights(2)).sum(axis=-1) == pytest.approx(1)
