from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    recall_score,
    roc_auc_score,
)

from monai_spine.scoring import figures as metrics
from monai_spine.scoring.figures import BINS, bin_sums, calibration_errors, reliability
from monai_spine.scoring.patient_resampling import patient_counts
from monai_spine.spine import MISSING, Grade


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


def test_up_to_256_different_scores_are_not_rounded() -> None:
    rng = np.random.default_rng(0)
    scores = rng.permutation(200)[:, None] / 200
    labels = np.where(np.arange(200) < 20, Grade.SEVERE, Grade.NORMAL_MILD)[:, None]
    counts = patient_counts([str(n) for n in range(200)], 10)
    positive = labels[:, 0] == Grade.SEVERE
    for figures, oracle in (
        (metrics.areas, roc_auc_score),
        (metrics.average_precisions, average_precision_score),
    ):
        expected = [oracle(positive, scores[:, 0], sample_weight=weights) for weights in counts]
        assert figures(labels, scores, Grade.SEVERE, counts) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("studies", [257, 300, 400])
def test_more_scores_are_rounded_by_less_than_half_a_thousandth(studies: int) -> None:
    scores = np.random.default_rng(1).permutation(studies)[:, None] / studies
    labels = np.where(np.arange(studies) % 2, Grade.SEVERE, Grade.NORMAL_MILD)[:, None]
    counts = patient_counts([str(n) for n in range(studies)], 10)
    positive = labels[:, 0] == Grade.SEVERE
    expected = [roc_auc_score(positive, scores[:, 0], sample_weight=weights) for weights in counts]
    assert metrics.areas(labels, scores, Grade.SEVERE, counts) == pytest.approx(expected, abs=5e-4)


def test_a_precision_recall_curve_needs_positive_and_negative_cases() -> None:
    score = np.array([0.1, 0.2])
    assert [metrics.Curve(np.array(positive), score).defined for positive in ([0, 0], [0, 1], [1, 1])] == [0, 1, 0]


def test_ratios_of_nothing_are_not_a_number() -> None:
    assert metrics.ratio([1.0, 6.0], [0.0, 3.0]) == pytest.approx([np.nan, 2.0], nan_ok=True)


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


@pytest.mark.parametrize(("probability", "place"), [(0.0, 0), (0.99 / BINS, 0), (1.01 / BINS, 1), (1.0, BINS - 1)])
def test_bins_have_equal_widths_and_1_lies_in_the_last(probability: float, place: int) -> None:
    curve = reliability(np.array([[1]]), np.array([[[1 - probability, probability]]]), 1)
    assert np.flatnonzero(curve.rows).tolist() == [place]
    assert (curve.predicted[place], curve.observed[place]) == (pytest.approx(probability), 1.0)
