import numpy as np
import pytest

from monai_spine.scoring.prevalence import WEIGHTS, normalised
from monai_spine.spine import FINDINGS, FLIPPED, Group, Level, columns_of
from monai_spine.tables.stacking import RIDGES, Head, apply_stack, features, fit_stack, log_ratios
from tests.monai_spine.tables.files import simulated


def test_left_and_right_have_the_same_features_seen_from_their_own_side() -> None:
    submissions = simulated().submissions[:, :5]
    mirrored = submissions[:, :, list(FLIPPED)]
    one = features(submissions, submissions.mean(axis=0))
    other = features(mirrored, mirrored.mean(axis=0))
    assert np.allclose(other, one[:, list(FLIPPED)])


def test_features_hold_the_findings_neighbours_and_nothing_beyond_the_last_level() -> None:
    pooled = simulated().submissions[0, :3]
    found = features(pooled[None], pooled)[..., :30].reshape(3, 25, 5, 3, 2)
    names = [finding.name for finding in FINDINGS]
    own, above = names.index("left_subarticular_stenosis_l3_l4"), names.index("left_subarticular_stenosis_l2_l3")
    assert np.allclose(found[:, own, 3, 1], log_ratios(pooled)[:, own])
    assert np.allclose(found[:, own, 3, 0], log_ratios(pooled)[:, above])
    right, left = names.index("right_subarticular_stenosis_l5_s1"), names.index("left_subarticular_stenosis_l5_s1")
    assert np.allclose(found[:, right, 3, 1], log_ratios(pooled)[:, right])
    assert np.allclose(found[:, right, 4, 1], log_ratios(pooled)[:, left])
    assert (found[:, right, :, 2] == 0).all()


def test_log_ratios_are_against_normal_mild_and_cut_at_8() -> None:
    assert log_ratios(np.array([0.5, 0.25, 0.25])) == pytest.approx([-np.log(2), -np.log(2)])
    assert log_ratios(np.array([1.0, 0.0, 1e-9])) == pytest.approx([-8, -8])
    assert log_ratios(np.array([1e-9, 0.5, 0.5])) == pytest.approx([8, 8])


def test_features_end_with_each_models_difference_from_the_pool_and_the_level() -> None:
    submissions = simulated().submissions[:2, :3]
    pooled = submissions.mean(axis=0)
    rows = features(submissions, pooled)
    assert rows.shape == (3, 25, 30 + 2 * 2 + 5)
    for n in range(2):
        difference = log_ratios(submissions[n]) - log_ratios(pooled)
        assert rows[..., 30 + 2 * n : 32 + 2 * n] == pytest.approx(difference)
    levels = [list(Level).index(finding.level) for finding in FINDINGS]
    assert np.array_equal(rows[0, :, -5:], np.eye(5)[levels])


def test_a_stack_adds_weighted_features_to_the_logits_of_moderate_and_severe() -> None:
    submissions = simulated().submissions[:2, :4]
    pooled = submissions.mean(axis=0)
    weights = np.random.default_rng(0).normal(0, 0.2, (39, 2))
    stack = {group: Head(0.1, weights if group is Group.FORAMINAL else np.zeros((39, 2))) for group in Group}
    rows = apply_stack(stack, submissions, pooled)
    correction = np.exp(features(submissions, pooled) @ weights)
    expected = pooled * np.concatenate([np.ones((4, 25, 1)), correction], axis=-1)
    expected /= expected.sum(axis=-1, keepdims=True)
    own = columns_of(Group.FORAMINAL)
    others = [n for n in range(25) if n not in own]
    assert rows[:, own] == pytest.approx(expected[:, own])
    assert rows[:, others] == pytest.approx(pooled[:, others])


@pytest.mark.slow
def test_the_ridge_is_strong_where_there_is_nothing_to_learn_and_weak_where_the_pool_is_wrong() -> None:
    rng = np.random.default_rng(1)
    natural = rng.dirichlet([4, 2, 1], size=(120, 25))
    grades = (rng.random((120, 25, 1)) > natural.cumsum(axis=-1)[..., :2]).sum(axis=-1)
    pooled = normalised(natural * WEIGHTS)
    patients = [str(n) for n in range(120)]
    right = fit_stack(grades, pooled[None], pooled, patients, 0)
    wrong = fit_stack(grades, pooled[None], normalised(pooled**3), patients, 0)
    for group in Group:
        assert right[group].ridge == max(RIDGES)
        assert wrong[group].ridge < max(RIDGES)
        assert np.abs(right[group].weights).max() < np.abs(wrong[group].weights).max()
