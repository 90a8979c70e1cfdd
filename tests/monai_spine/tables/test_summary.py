import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, cohen_kappa_score, recall_score, roc_auc_score

from monai_spine.scoring import figures as metrics
from monai_spine.scoring.bootstrap import difference, estimate, patient_counts, score_replicates
from monai_spine.scoring.competition import WEIGHTS, competition_score, natural_prevalence
from monai_spine.scoring.reliability import BINS, bin_sums, calibration_errors, reliability
from monai_spine.spine import FINDINGS, MISSING, Grade
from monai_spine.tables.metrics_report import measure, pools
from tests.monai_spine.tables.files import simulated


def labels_and_scores(seed: int, studies: int = 30, findings: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, MISSING], size=(studies, findings), p=[0.5, 0.25, 0.2, 0.05])
    return labels, np.round(rng.dirichlet([1, 1, 1], size=(studies, findings)), 2)


seeds = st.integers(0, 10_000)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_areas_are_scikit_learns_with_ties_and_with_patients_drawn_anew(seed: int) -> None:
    labels, probabilities = labels_and_scores(seed)
    counts = patient_counts([str(n // 2) for n in range(len(labels))], 5, seed)
    found = metrics.areas(labels, probabilities[..., 2], Grade.SEVERE, counts)
    known = labels != MISSING
    for area, weights in zip(found, counts, strict=True):
        rows = np.broadcast_to(weights[:, None], labels.shape)[known]
        truth = labels[known] == Grade.SEVERE
        if 0 < (truth * rows).sum() < rows.sum():
            assert area == pytest.approx(roc_auc_score(truth, probabilities[known][:, 2], sample_weight=rows))
        else:
            assert np.isnan(area)


def test_rounding_of_scores_moves_replicates_of_the_area_by_less_than_the_docstring_says() -> None:
    rng = np.random.default_rng(3)
    labels = rng.choice([0, 1, 2], size=(400, 10), p=[0.85, 0.1, 0.05])
    scores = 1 / (1 + np.exp(-rng.normal(labels * 1.2 - 3)))
    counts = patient_counts([str(n) for n in range(400)], 20)
    found = metrics.areas(labels, scores, Grade.SEVERE, counts)
    for area, weights in zip(found, counts, strict=True):
        rows = np.repeat(weights, 10)
        assert area == pytest.approx(roc_auc_score(labels.ravel() == 2, scores.ravel(), sample_weight=rows), abs=5e-4)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_figures_of_confusion_matrices_are_scikit_learns(seed: int) -> None:
    labels, probabilities = labels_and_scores(seed)
    decided = probabilities.argmax(axis=-1)
    matrix = metrics.study_confusions(labels, decided).sum(axis=0).reshape(3, 3)
    known = labels != MISSING
    y, d = labels[known], decided[known]
    assert metrics.kappas(matrix, 1) == pytest.approx(cohen_kappa_score(y, d, weights="linear", labels=[0, 1, 2]))
    assert metrics.kappas(matrix, 2) == pytest.approx(cohen_kappa_score(y, d, weights="quadratic", labels=[0, 1, 2]))
    assert metrics.balanced_accuracies(matrix) == pytest.approx(balanced_accuracy_score(y, d))
    for lowest in (1, 2):
        assert metrics.sensitivities(matrix, lowest) == pytest.approx(recall_score(y >= lowest, d >= lowest))
        assert metrics.specificities(matrix, lowest) == pytest.approx(recall_score(y < lowest, d < lowest))


def test_the_brier_score_is_scikit_learns() -> None:
    labels, probabilities = labels_and_scores(5)
    probabilities = probabilities / probabilities.sum(axis=-1, keepdims=True)
    known = labels != MISSING
    expected = sum(brier_score_loss(labels[known] == g, probabilities[known][:, g]) for g in Grade)
    assert metrics.study_briers(labels, probabilities).sum() / known.sum() == pytest.approx(expected)


def test_the_calibration_error_by_hand() -> None:
    labels = np.array([[2, 0, 0, 2, MISSING]])
    severe = np.array([[0.9, 0.91, 0.01, 0.02, 0.5]])
    probabilities = np.stack([1 - severe, np.zeros_like(severe), severe], axis=-1)
    error = calibration_errors(bin_sums(labels, probabilities, 2).sum(axis=0), np.array(4.0))
    assert error == pytest.approx((abs(0.9 + 0.91 - 1) + abs(0.01 + 0.02 - 1)) / 4)
    curve = reliability(labels, probabilities, 2)
    assert curve.rows.sum() == 4
    assert (curve.rows > 0).sum() == 2
    assert curve.observed[13] == pytest.approx(0.5)
    assert curve.predicted[13] == pytest.approx(0.905)


@given(st.floats(0, 1))
def test_every_probability_has_a_bin(p: float) -> None:
    rows = np.array([[[1 - p, 0, p]]])
    assert bin_sums(np.array([[0]]), rows, 2).shape == (1, BINS)


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


def test_the_summary_has_every_pool_and_counts_every_label_once_in_each_kind() -> None:
    simulation = simulated()
    found = measure(simulation.labels, simulation.submissions[0], simulation.study_ids, replicates=20)
    content = json.loads(found.to_json())
    known = int((simulation.labels != MISSING).sum())
    for kind in ("all", "groups", "conditions", "levels", "findings"):
        assert sum(pool["rows"] for pool in content[kind].values()) == known, kind
    assert set(content["findings"]) == {finding.name for finding in FINDINGS}
    assert len(content["sides"]) == 2
    assert len(found.pools) == len(pools())
    expected = competition_score(simulation.labels, simulation.submissions[0]).as_dict()
    assert {part: figure["value"] for part, figure in content["score"].items()} == pytest.approx(expected, abs=1e-6)
    assert "kappa_quadratic" in found.to_text()


def test_weighted_decisions_find_more_severe_findings_and_change_no_area() -> None:
    simulation = simulated()
    natural, weighted = (
        measure(simulation.labels, simulation.submissions[0], simulation.study_ids, decision=how, replicates=5)
        for how in ("natural", "weighted")
    )
    first, second = (found.pools[0].figures for found in (natural, weighted))
    assert second["sensitivity_severe"].value > first["sensitivity_severe"].value
    assert second["auc_severe"] == first["auc_severe"]


def test_natural_probabilities_give_the_figures_that_their_weighted_form_gives() -> None:
    simulation = simulated()
    natural = natural_prevalence(simulation.submissions[0])
    given_weighted = measure(simulation.labels, natural * WEIGHTS, simulation.study_ids, replicates=5)
    given_natural = measure(simulation.labels, natural, simulation.study_ids, tilted=False, replicates=5)
    for one, other in zip(given_weighted.pools, given_natural.pools, strict=True):
        for name, figure in one.figures.items():
            assert figure.value == pytest.approx(other.figures[name].value, abs=1e-9, nan_ok=True), name
