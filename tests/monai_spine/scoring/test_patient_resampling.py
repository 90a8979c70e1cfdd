from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.errors import InvalidOptionError
from monai_spine.scoring import figures as metrics
from monai_spine.scoring.competition import competition_score
from monai_spine.scoring.patient_resampling import (
    Estimate,
    difference,
    estimate,
    grouped_folds,
    out_of_fold,
    patient_counts,
    score_replicates,
)
from monai_spine.spine import MISSING, Grade
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
    # the sample itself does not count: two of three replicates are more than half
    assert np.isfinite(estimate(np.array([0.5, 0.4, 0.6, np.nan])).low)


def test_a_difference_is_the_first_minus_the_other() -> None:
    figure = difference(np.array([1.0, 1.1, 0.9]), np.array([3.0, 3.1, 2.9]))
    assert (figure.value, figure.low, figure.high) == pytest.approx((-2.0, -2.0, -2.0))


def test_figures_are_shown_with_three_decimals_and_named_as_columns() -> None:
    figure = Estimate(0.5, 0.25, 0.75)
    assert str(figure) == "0.500 [0.250, 0.750]"
    assert figure.as_columns("auc") == {"auc": 0.5, "auc_low": 0.25, "auc_high": 0.75}
    assert str(Estimate(np.nan, 0.0, 0.0)) == "–"


@given(st.lists(st.integers(0, 12), min_size=14, max_size=60), st.integers(2, 5), st.integers(0, 99))
def test_a_patients_studies_share_a_fold_and_no_fold_is_empty(owners: list[int], folds: int, seed: int) -> None:
    patients = [str(owner) for owner in owners]
    grades = np.random.default_rng(seed).choice([0, 1, 2, MISSING], size=(len(owners), 25), p=[0.8, 0.1, 0.05, 0.05])
    if len(set(patients)) < folds:
        with pytest.raises(InvalidOptionError, match="--folds"):
            grouped_folds(grades, patients, folds, seed)
        return
    found = grouped_folds(grades, patients, folds, seed)
    assert set(found) == set(range(folds))
    assert all(len(set(found[np.array(patients) == patient])) == 1 for patient in set(patients))
    assert np.array_equal(found, grouped_folds(grades, patients, folds, seed))


def test_severe_canals_are_spread_evenly() -> None:
    labels = simulated().labels
    severe = (labels[:, :5] == Grade.SEVERE).any(axis=1)
    folds = grouped_folds(labels, simulated().study_ids, 5)
    assert np.ptp(np.bincount(folds[severe])) <= 1


def test_every_study_is_answered_for_by_what_others_taught() -> None:
    folds = np.array([0, 1, 0, 2, 1])

    def learnt_from(training: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        assert not set(training) & set(held_out)
        return np.full(len(held_out), float(sum(2**n for n in training)))

    answers = out_of_fold(folds, learnt_from, np.zeros(5))
    assert answers.tolist() == [31 - 5, 31 - 18, 31 - 5, 31 - 8, 31 - 18]


def test_the_folds_of_each_stratum_differ_by_at_most_one_patient() -> None:
    grades = np.zeros((31, 25), dtype=np.int64)
    grades[:7, 2] = Grade.SEVERE
    grades[7:18, 9] = Grade.SEVERE
    folds = grouped_folds(grades, [str(n) for n in range(31)], 3, seed=5)
    for stratum in (slice(7), slice(7, 18), slice(18, None)):
        assert np.ptp(np.bincount(folds[stratum], minlength=3)) <= 1


def test_the_same_seed_gives_the_same_folds_and_0_is_the_default() -> None:
    grades, patients = np.zeros((40, 25), dtype=np.int64), [str(n) for n in range(40)]
    assert np.array_equal(grouped_folds(grades, patients, 4), grouped_folds(grades, patients, 4, seed=0))
    assert not np.array_equal(grouped_folds(grades, patients, 4), grouped_folds(grades, patients, 4, seed=1))


@pytest.mark.parametrize("folds", [1, 4])
def test_fewer_than_2_folds_or_more_than_patients_are_refused(folds: int) -> None:
    grades = np.zeros((3, 25), dtype=np.int64)
    with pytest.raises(InvalidOptionError, match="from 2 to 3, the number of patients"):
        grouped_folds(grades, ["a", "b", "c"], folds)
    assert set(grouped_folds(grades, ["a", "b", "c"], 3)) == {0, 1, 2}
    assert set(grouped_folds(grades, ["a", "b", "c"], 2)) == {0, 1}
