import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from monai_spine.images.evaluation.figures import Classified, class_figures, overall_figures
from monai_spine.scoring.figures import average_precisions
from monai_spine.scoring.patient_resampling import patient_counts
from monai_spine.spine import MISSING

seeds = st.integers(0, 10_000)


def one_class(seed: int, images: int = 60, classes: int = 4) -> Classified:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    rows = rng.dirichlet(np.ones(classes), images) + 0.4 * np.eye(classes)[labels]
    rows = np.round(rows / rows.sum(axis=1, keepdims=True), 2)
    labels[rng.random(images) < 0.1] = MISSING
    return Classified(labels, rows / rows.sum(axis=1, keepdims=True))


def several_labels(seed: int, images: int = 60, classes: int = 3) -> Classified:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, MISSING], p=[0.6, 0.35, 0.05], size=(images, classes))
    probabilities = np.round(np.clip(rng.normal(0.3 + 0.3 * (labels == 1), 0.2), 0, 1), 2)
    return Classified(labels, probabilities, rng.uniform(0.2, 0.7, classes))


def figures(classified: Classified, counts: np.ndarray) -> tuple[dict, list[dict]]:
    each = [class_figures(classified, n, counts) for n in range(classified.classes)]
    return overall_figures(classified, each, counts), each


def once(classified: Classified) -> np.ndarray:
    return np.ones((1, len(classified.labels)))


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_figures_of_one_class_an_image_are_scikit_learns_without_the_unlabelled(seed: int) -> None:
    classified = one_class(seed)
    overall, each = figures(classified, once(classified))
    known = classified.labels != MISSING
    y, p = classified.labels[known], classified.probabilities[known]
    decided = p.argmax(axis=1)
    assert overall["accuracy"] == pytest.approx(oracle.accuracy_score(y, decided))
    assert overall["balanced_accuracy"] == pytest.approx(oracle.balanced_accuracy_score(y, decided))
    assert overall["macro_f1"] == pytest.approx(oracle.f1_score(y, decided, average="macro"))
    assert overall["mean_auc"] == pytest.approx(oracle.roc_auc_score(y, p, multi_class="ovr", average="macro"))
    assert overall["brier"] == pytest.approx(sum(oracle.brier_score_loss(y == n, p[:, n]) for n in range(4)))
    assert (classified.confusions() == oracle.confusion_matrix(y, decided)).all()
    for n in range(4):
        assert each[n]["auc"] == pytest.approx(oracle.roc_auc_score(y == n, p[:, n]))
        assert each[n]["average_precision"] == pytest.approx(oracle.average_precision_score(y == n, p[:, n]))
        assert each[n]["sensitivity"] == pytest.approx(oracle.recall_score(y == n, decided == n))
        assert each[n]["specificity"] == pytest.approx(oracle.recall_score(y != n, decided != n))


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_figures_of_several_labels_are_scikit_learns_without_the_unknown(seed: int) -> None:
    classified = several_labels(seed)
    overall, each = figures(classified, once(classified))
    aucs, f1s, right = [], [], []
    for n in range(3):
        known = classified.labels[:, n] != MISSING
        y, p = classified.labels[known, n], classified.probabilities[known, n]
        decided = p >= classified.thresholds[n]
        aucs.append(oracle.roc_auc_score(y, p))
        f1s.append(oracle.f1_score(y, decided))
        right.extend(y == decided)
        assert each[n]["average_precision"] == pytest.approx(oracle.average_precision_score(y, p))
        assert each[n]["sensitivity"] == pytest.approx(oracle.recall_score(y, decided))
        assert (classified.confusions()[n] == oracle.confusion_matrix(y, decided, labels=[0, 1])).all()
    assert overall["mean_auc"] == pytest.approx(np.mean(aucs))
    assert overall["macro_f1"] == pytest.approx(np.mean(f1s))
    assert overall["accuracy"] == pytest.approx(np.mean(right))
    whole = (classified.labels != MISSING).all(axis=1)
    y, decided = classified.labels[whole], classified.decided()[whole]
    assert overall["exact_match"] == pytest.approx(oracle.accuracy_score(y, decided))


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_replicates_are_the_figures_of_images_drawn_anew(seed: int) -> None:
    classified = one_class(seed)
    counts = patient_counts([str(n // 2) for n in range(len(classified.labels))], 3, seed)
    overall, each = figures(classified, counts)
    for n, times in enumerate(counts.astype(int)):
        drawn = Classified(np.repeat(classified.labels, times), np.repeat(classified.probabilities, times, axis=0))
        expected, expected_each = figures(drawn, once(drawn))
        for name, values in overall.items():
            assert values[n] == pytest.approx(expected[name][0], nan_ok=True), name
        for own, others in zip(each, expected_each, strict=True):
            assert own["average_precision"][n] == pytest.approx(others["average_precision"][0], nan_ok=True)


def test_rounding_moves_replicates_of_average_precision_little() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random((3000, 1)) < 0.2).astype(int)
    scores = 1 / (1 + np.exp(-rng.normal(labels * 1.5 - 2)))
    counts = patient_counts([str(n) for n in range(3000)], 10)
    for replicate, weights in zip(average_precisions(labels, scores, 1, counts), counts, strict=True):
        expected = oracle.average_precision_score(labels[:, 0], scores[:, 0], sample_weight=weights)
        assert replicate == pytest.approx(expected, abs=2e-3)


def test_the_brier_score_of_two_classes_is_the_squared_error_of_one() -> None:
    classified = one_class(1, classes=2)
    known = classified.labels != MISSING
    expected = oracle.brier_score_loss(classified.labels[known], classified.probabilities[known, 1])
    assert figures(classified, once(classified))[0]["brier"] == pytest.approx(expected)


def test_a_class_that_nobody_has_is_left_out_of_the_means() -> None:
    classified = one_class(2, classes=3)
    wider = Classified(classified.labels, np.pad(classified.probabilities, ((0, 0), (0, 1))))
    narrow, wide = (figures(one, once(one))[0] for one in (classified, wider))
    assert all(wide[name] == pytest.approx(narrow[name]) for name in narrow)


def test_the_calibration_error_is_that_of_the_predicted_class() -> None:
    rows = np.tile([0.8, 0.2], (10, 1))
    overall, _ = figures(Classified(np.array([0] * 5 + [1] * 5), rows), np.ones((1, 10)))
    assert overall["ece"] == pytest.approx(0.3)
