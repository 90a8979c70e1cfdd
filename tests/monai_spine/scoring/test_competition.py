import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from monai_spine.scoring.competition import JEFFREYS, competition_score, constant_score, level_prior, uniform_rows
from monai_spine.scoring.prevalence import WEIGHTS, normalised
from monai_spine.spine import FINDINGS, MISSING, Group, columns_of

GROUPS = {g: [n for n, f in enumerate(FINDINGS) if f.condition.group is g] for g in Group}


def random_cohort(seed: int, studies: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, MISSING], size=(studies, 25), p=[0.6, 0.2, 0.15, 0.05])
    return labels, rng.dirichlet([1.0, 1.0, 1.0], size=(studies, 25))


@pytest.mark.parametrize("seed", range(5))
def test_each_group_is_scikit_learns_weighted_log_loss(seed: int) -> None:
    labels, probabilities = random_cohort(seed)
    score = competition_score(labels, probabilities)
    for group, part in zip(Group, (score.spinal, score.foraminal, score.subarticular), strict=True):
        truth, rows = labels[:, GROUPS[group]].ravel(), probabilities[:, GROUPS[group]].reshape(-1, 3)
        known = truth != MISSING
        expected = log_loss(truth[known], rows[known], sample_weight=WEIGHTS[truth[known]], labels=[0, 1, 2])
        assert part == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_any_severe_is_scikit_learns_log_loss_of_the_worst_canal_level(seed: int) -> None:
    labels, probabilities = random_cohort(seed)
    labels[:, 0] = np.maximum(labels[:, 0], 0)
    spinal, severe = labels[:, GROUPS[Group.SPINAL]], probabilities[:, GROUPS[Group.SPINAL], 2]
    worst = spinal.max(axis=1)
    predicted = np.where(spinal == MISSING, 0, severe).max(axis=1)
    expected = log_loss(worst == 2, predicted, sample_weight=WEIGHTS[worst], labels=[False, True])
    assert competition_score(labels, probabilities).any_severe_spinal == pytest.approx(expected, rel=1e-12)


def test_a_study_worked_out_by_hand() -> None:
    labels = np.full((1, 25), MISSING)
    probabilities = np.full((1, 25, 3), 1 / 3)
    labels[0, :2] = [2, 0]
    probabilities[0, 0], probabilities[0, 1] = [0.2, 0.3, 0.5], [0.8, 0.1, 0.1]
    labels[0, 5], labels[0, 15] = 1, 0
    probabilities[0, 5], probabilities[0, 15] = [0.5, 0.25, 0.25], [0.9, 0.05, 0.05]
    score = competition_score(labels, probabilities)
    assert score.spinal == pytest.approx((4 * -np.log(0.5) + -np.log(0.8)) / 5)
    assert score.foraminal == pytest.approx(-np.log(0.25))
    assert score.subarticular == pytest.approx(-np.log(0.9))
    assert score.any_severe_spinal == pytest.approx(-np.log(0.5))
    parts = [score.spinal, score.foraminal, score.subarticular, score.any_severe_spinal]
    assert score.score == pytest.approx(sum(parts) / 4)


def test_a_worst_canal_level_that_is_moderate_weighs_two() -> None:
    labels = np.zeros((2, 25), dtype=int)
    labels[0, 3] = 1
    probabilities = np.full((2, 25, 3), 1 / 3)
    probabilities[0, :, :], probabilities[1, :, :] = [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]
    expected = (2 * -np.log(0.75) + -np.log(0.4)) / 3
    assert competition_score(labels, probabilities).any_severe_spinal == pytest.approx(expected)


@given(st.floats(0.01, 100))
def test_scaling_a_row_changes_nothing(factor: float) -> None:
    labels, probabilities = random_cohort(1)
    scaled = competition_score(labels, probabilities * factor).score
    assert scaled == pytest.approx(competition_score(labels, probabilities).score, rel=1e-9)


def test_certain_and_wrong_costs_what_float64_epsilon_costs() -> None:
    labels = np.zeros((1, 25), dtype=int)
    probabilities = np.tile([0.0, 0.0, 1.0], (1, 25, 1))
    score = competition_score(labels, probabilities)
    worst = -np.log(np.finfo(np.float64).eps)
    assert (score.spinal, score.any_severe_spinal) == (pytest.approx(worst), pytest.approx(worst))


def test_no_severe_study_does_not_raise() -> None:
    labels, probabilities = np.zeros((3, 25), dtype=int), np.full((3, 25, 3), 1 / 3)
    assert np.isfinite(competition_score(labels, probabilities).score)


def test_a_part_without_labels_is_not_a_number_rather_than_zero() -> None:
    labels = np.zeros((3, 25), dtype=int)
    labels[:, GROUPS[Group.FORAMINAL]] = MISSING
    score = competition_score(labels, np.full((3, 25, 3), 1 / 3))
    assert np.isnan(score.foraminal)
    assert np.isnan(score.score)
    assert np.isfinite(score.spinal)


def test_uniform_answers_cost_ln_3_in_each_group() -> None:
    labels, _ = random_cohort(0)
    score = constant_score(labels, uniform_rows())
    assert (score.spinal, score.foraminal) == (pytest.approx(np.log(3)), pytest.approx(np.log(3)))


@pytest.mark.parametrize("seed", range(3))
def test_no_other_constant_beats_the_level_prior_in_any_group(seed: int) -> None:
    labels, _ = random_cohort(seed)
    prior = level_prior(labels)
    best = constant_score(labels, prior)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        other = constant_score(labels, normalised(prior + rng.uniform(0, 0.1, prior.shape)))
        assert best.spinal <= other.spinal
        assert best.foraminal <= other.foraminal
        assert best.subarticular <= other.subarticular


def test_a_prior_without_any_label_is_uniform() -> None:
    assert np.allclose(level_prior(np.full((4, 25), MISSING)), 1 / 3)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (np.zeros((2, 24)), np.ones((2, 24, 3)), "labels of shape"),
        (np.zeros((2, 25)), np.ones((2, 25, 2)), "probabilities of shape"),
        (np.full((2, 25), 3), np.ones((2, 25, 3)), "labels 0, 1, 2"),
        (np.zeros((2, 25)), np.zeros((2, 25, 3)), "sum above 0"),
        (np.zeros((2, 25)), np.full((2, 25, 3), np.nan), "finite"),
        (np.zeros((2, 25)), np.full((2, 25, 3), -1.0), "not negative"),
    ],
)
def test_what_is_no_cohort_is_refused(labels: np.ndarray, probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        competition_score(labels, probabilities)


def test_a_pseudo_count_adds_studies_of_each_grade() -> None:
    labels = np.full((4, 25), MISSING)
    labels[:3, 0] = 0
    counts = np.array([3.5, 0.5, 0.5])
    assert level_prior(labels, JEFFREYS)[0] == pytest.approx(counts * WEIGHTS / (counts * WEIGHTS).sum())
    assert level_prior(labels, JEFFREYS)[1] == pytest.approx(WEIGHTS / WEIGHTS.sum())


def test_the_columns_of_the_groups_are_all_findings_each_once() -> None:
    assert sorted(n for group in Group for n in columns_of(group)) == list(range(25))
    assert columns_of(Group.SPINAL) == [0, 1, 2, 3, 4]


def test_a_study_without_canal_labels_does_not_count_in_any_severe() -> None:
    labels = np.zeros((2, 25), dtype=int)
    labels[1, :5] = MISSING
    probabilities = np.full((2, 25, 3), 1 / 3)
    probabilities[1, :, :] = [0.0, 0.0, 1.0]
    assert competition_score(labels, probabilities).any_severe_spinal == pytest.approx(-np.log(2 / 3))
