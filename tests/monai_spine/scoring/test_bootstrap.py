import numpy as np
import pytest

from monai_spine.scoring import figures as metrics
from monai_spine.scoring.bootstrap import Estimate, difference, estimate, patient_counts, score_replicates
from monai_spine.scoring.competition import competition_score
from tests.monai_spine.tables.files import simulated


def test_one_patients_studies_are_drawn_together() -> None:
    counts = patient_counts(["a", "b", "a", "c"], 50)
    assert (counts[0] == 1).all()
    assert np.array_equal(counts[:, 0], counts[:, 2])
    assert (counts[1:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_intervals_of_an_area_hold_its_true_value_about_as_often_as_they_say() -> None:
    held = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 2], 60)[:, None]
        scores = rng.normal(labels / 2.0)  # true area: the normal distribution function at 1 / sqrt(2)
        figure = estimate(metrics.areas(labels, scores, 2, patient_counts([str(n) for n in range(120)], 100, seed)))
        held.append(figure.low <= 0.7602 <= figure.high)
    assert 0.85 <= np.mean(held) <= 1.0


def test_an_interval_has_its_figure_inside_and_stays_possible() -> None:
    figure = estimate(np.array([0.01, 0.03, 0.05, 0.04, 0.06]))
    assert 0 <= figure.low <= figure.value <= figure.high
    assert figure.as_dict()["value"] == 0.01
    undefined = estimate(np.array([np.nan, 0.1, 0.2]))
    assert undefined.as_dict() == {"value": None, "low": None, "high": None}


def test_scores_of_replicates_are_the_competitions_of_repeated_studies() -> None:
    simulation = simulated()
    labels, rows = simulation.labels[:40], simulation.submissions[0, :40]
    counts = patient_counts(simulation.study_ids[:40], 3)
    found = score_replicates(labels, rows, counts)
    for n, weights in enumerate(counts):
        again = np.repeat(np.arange(40), weights.astype(int))
        expected = competition_score(labels[again], rows[again]).as_dict()
        assert {part: values[n] for part, values in found.items()} == pytest.approx(expected)


def test_the_better_of_two_is_told_apart_more_surely_than_their_intervals_alone_would() -> None:
    simulation = simulated()
    counts = patient_counts(simulation.study_ids, 200)
    first, mean = (
        score_replicates(simulation.labels, rows, counts)["score"]
        for rows in (simulation.submissions[0], simulation.submissions.mean(axis=0))
    )
    gain, alone = difference(mean, first), estimate(first, highest=np.inf)
    assert gain.high < 0
    assert gain.high - gain.low < alone.high - alone.low


def test_the_sample_itself_comes_first_and_then_the_replicates() -> None:
    counts = patient_counts(["a", "b", "c"], 7, seed=3)
    assert counts.shape == (8, 3)
    assert (counts[0] == 1).all()
    assert np.array_equal(counts, patient_counts(["a", "b", "c"], 7, seed=3))
    assert not np.array_equal(counts, patient_counts(["a", "b", "c"], 7, seed=4))
    assert np.array_equal(patient_counts(["a", "b"], 9), patient_counts(["a", "b"], 9, seed=0))


def test_an_interval_is_the_middle_95_percent_of_the_replicates_around_the_figure() -> None:
    replicates = np.random.default_rng(0).normal(0.5, 0.02, 999)
    figure = estimate(np.concatenate([[0.4], replicates]))
    low, high = np.percentile(replicates, [2.5, 97.5]) - replicates.mean() + 0.4
    assert (figure.low, figure.high) == (pytest.approx(low), pytest.approx(high))


def test_there_is_no_interval_if_half_of_the_replicates_are_not_defined() -> None:
    assert np.isnan(estimate(np.array([0.5, 0.4, 0.6, np.nan, np.nan])).low)
    assert np.isfinite(estimate(np.array([0.5, 0.4, 0.5, 0.6, np.nan])).low)


def test_a_difference_is_the_first_minus_the_other() -> None:
    figure = difference(np.array([1.0, 1.1, 0.9]), np.array([3.0, 3.1, 2.9]))
    assert (figure.value, figure.low, figure.high) == pytest.approx((-2.0, -2.0, -2.0))


def test_figures_are_shown_with_three_decimals_and_named_as_columns() -> None:
    figure = Estimate(0.5, 0.25, 0.75)
    assert str(figure) == "0.500 [0.250, 0.750]"
    assert figure.as_columns("auc") == {"auc": 0.5, "auc_low": 0.25, "auc_high": 0.75}
    assert str(Estimate(np.nan, 0.0, 0.0)) == "–"
