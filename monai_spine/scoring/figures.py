"""Figures of graded findings and of classified images, for the sample and for every bootstrap replicate at once.

A classified image is treated as a study with one finding, whose grades are the classes. An array ``(replicates, …)``
comes from `monai_spine.scoring.patient_resampling.patient_counts` times sums over studies. The definitions are those
of scikit-learn, with which the tests compare. Reliability tells whether of the findings with a predicted probability of
.3 three in ten really have that grade.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import mannwhitneyu

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import MISSING, Grade

_STEPS = 128
"""Quantiles of the positive and of the negative rows' scores to which replicates round, for areas under curves.

Exact ranks of 1,000 replicates would need a sort for each of them; sums over at most 256 steps are one matrix product.
"""


@dataclass(frozen=True)
class Curve:
    """The cases from which a precision-recall curve is drawn."""

    positive: npt.NDArray[np.bool_]
    """``(cases,)``: whether a case is positive."""
    score: Floats
    """``(cases,)``: the network's score of it, from 0 to 1."""

    @property
    def defined(self) -> bool:
        """Whether there are both positive and negative cases."""
        return bool(0 < self.positive.sum() < len(self.positive))


def study_confusions(labels: Ints, decided: Ints, classes: int = len(Grade)) -> Floats:
    """Confusion matrix of each study, ``(studies, classes * classes)``: label by decided grade, flattened.

    ``labels``, ``decided``: ``(studies, n)``; rows whose label is `MISSING` are not counted.
    """
    confusions = np.zeros((len(labels), classes**2))
    study, finding = np.nonzero(labels != MISSING)
    cell = labels[study, finding] * classes + decided[study, finding]
    # add.at, because a study has several findings in one cell; `confusions[...] += 1` would count them once.
    np.add.at(confusions, (study, cell), 1.0)
    return confusions


def kappas(confusions: Floats, power: int) -> Floats:
    """Weighted kappa, linear (``power`` 1) or quadratic (2), of matrices ``(..., 3, 3)``.

    One minus the ratio of observed to expected disagreement, where a disagreement costs its distance in grades to the
    given power (Cohen, Weighted kappa, 1968). NaN if all labels and all decisions are one grade.
    """
    grades = np.arange(len(Grade))
    cost = np.abs(np.subtract.outer(grades, grades)) ** power
    total = confusions.sum(axis=(-2, -1))
    observed = (confusions * cost).sum(axis=(-2, -1))
    margins = confusions.sum(axis=-1)[..., :, None] * confusions.sum(axis=-2)[..., None, :]
    return 1 - ratio(observed * total, (margins * cost).sum(axis=(-2, -1)))


def sensitivities(confusions: Floats, lowest: int) -> Floats:
    """Share of the findings of at least the ``lowest`` grade that get such a grade; matrices ``(..., 3, 3)``."""
    return ratio(confusions[..., lowest:, lowest:].sum(axis=(-2, -1)), confusions[..., lowest:, :].sum(axis=(-2, -1)))


def specificities(confusions: Floats, lowest: int) -> Floats:
    """Share of the findings below the ``lowest`` grade that get such a grade; matrices ``(..., 3, 3)``."""
    return ratio(confusions[..., :lowest, :lowest].sum(axis=(-2, -1)), confusions[..., :lowest, :].sum(axis=(-2, -1)))


def balanced_accuracies(confusions: Floats) -> Floats:
    """Mean recall over the grades that occur; matrices ``(..., k, k)``."""
    labelled = confusions.sum(axis=-1)
    recalls = np.nan_to_num(ratio(np.diagonal(confusions, axis1=-2, axis2=-1), labelled))
    return ratio(recalls.sum(axis=-1), (labelled > 0).sum(axis=-1))


def areas(labels: Ints, scores: Floats, lowest: int, counts: Floats) -> Floats:
    """Area under the ROC curve of "at least the ``lowest`` grade", ``(replicates,)``.

    It is the share of pairs of a positive and a negative row in which the positive one has the higher score; ties
    count half. NaN unless there are rows of both. The first area is exact. The areas of the replicates round the
    scores to at most 256 steps, which changes them by less than .0005.

    ``labels``, ``scores``: ``(studies, n)``; rows without a label are left out.
    ``counts``: ``(replicates, studies)``, the first row all 1.
    """
    study, finding = np.nonzero(labels != MISSING)
    score, positive = scores[study, finding], labels[study, finding] >= lowest
    if not 0 < positive.sum() < len(positive):
        return np.full(len(counts), np.nan)
    # Mann and Whitney's U counts the same pairs, with ties as half.
    exact = 1 - mannwhitneyu(score[~positive], score[positive]).statistic / (positive.sum() * (~positive).sum())
    step = _steps(score, positive)
    above, below = (_tally(study[own], step[own], counts[1:]) for own in (positive, ~positive))
    lower = below.cumsum(axis=1) - below / 2  # negatives with a lower score, and half of those with the same score
    replicates = ratio((above * lower).sum(axis=1), above.sum(axis=1) * below.sum(axis=1))
    return np.concatenate([[exact], replicates])


def average_precisions(labels: Ints, scores: Floats, lowest: int, counts: Floats) -> Floats:
    """Average precision, ``(replicates,)``: precision at each threshold, weighted by the recall gained there.

    NaN unless there are positive and negative rows. Parameters and rounding are those of `areas`.
    """
    study, finding = np.nonzero(labels != MISSING)
    score, positive = scores[study, finding], labels[study, finding] >= lowest
    if not 0 < positive.sum() < len(positive):
        return np.full(len(counts), np.nan)
    every = np.unique(score, return_inverse=True)[1]
    exact = _precisions(*(np.bincount(every[own], minlength=every.max() + 1)[None] for own in (positive, ~positive)))
    step = _steps(score, positive)
    replicates = _precisions(*(_tally(study[own], step[own], counts[1:]) for own in (positive, ~positive)))
    return np.concatenate([exact, replicates])


def study_briers(labels: Ints, probabilities: Floats) -> Floats:
    """Brier score of each study, summed over its labelled rows: squared errors of all probabilities, ``(studies,)``.

    ``labels``, ``probabilities``: ``(studies, n)`` and ``(studies, n, grades)``.
    """
    truth = labels[..., None] == np.arange(probabilities.shape[-1])
    errors = ((probabilities - truth) ** 2).sum(axis=-1)
    return np.asarray(np.where(labels != MISSING, errors, 0.0).sum(axis=-1))


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Quotients; NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    undefined = denominator == 0
    return np.where(undefined, np.nan, numerator / np.where(undefined, 1.0, denominator))


def _precisions(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> Floats:
    """Average precision of tallies ``(replicates, steps)``, steps in ascending order of the score."""
    right, wrong = (np.asarray(tally, dtype=np.float64)[:, ::-1] for tally in (positives, negatives))
    above = right.cumsum(axis=1)
    precision = np.nan_to_num(ratio(above, above + wrong.cumsum(axis=1)))
    return ratio((right * precision).sum(axis=1), above[:, -1])


def _steps(score: Floats, positive: npt.NDArray[np.bool_]) -> Ints:
    """Ranks of the scores, rounded to at most twice ``_STEPS`` steps."""
    edges = np.unique(score)
    if len(edges) > 2 * _STEPS:
        shares = np.linspace(0, 1, _STEPS)
        # Quantiles of positives and of negatives apart: among few positives, common steps would be too coarse.
        edges = np.unique([np.quantile(score[own], shares, method="lower") for own in (positive, ~positive)])
    return np.searchsorted(edges, score, side="right")


def _tally(study: Ints, step: Ints, counts: Floats) -> Floats:
    """How many rows have each step in each replicate, ``(replicates, steps)``.

    float32 is exact here: it holds whole numbers up to 16 million, in half the memory.
    """
    if not len(counts):
        return np.zeros((0, 2 * _STEPS + 1))
    rows = np.zeros((counts.shape[1], 2 * _STEPS + 1), dtype=np.float32)
    np.add.at(rows, (study, step), 1.0)
    return np.asarray(counts.astype(np.float32) @ rows, dtype=np.float64)


BINS = 15
"""Bins of equal width, as in Guo et al., On calibration of modern neural networks (2017)."""


@dataclass(frozen=True)
class Reliability:
    """Predicted probabilities and observed shares, bin by bin."""

    rows: Ints
    """``(BINS,)``: how many findings have a probability in the bin."""
    predicted: Floats
    observed: Floats
    """``predicted``, ``observed``: ``(BINS,)``: their mean probability, and the share of them that has the grade; NaN
    in empty bins."""


def reliability(labels: Ints, probabilities: Floats, grade: int) -> Reliability:
    """The reliability curve of one grade over all rows with a label; arguments as in `bin_sums`."""
    known = labels != MISSING
    bins, p, y = _binned(labels, probabilities, grade)
    rows, predicted, observed = (np.bincount(bins[known], weights[known], BINS) for weights in (np.ones_like(p), p, y))
    return Reliability(rows.astype(np.int64), ratio(predicted, rows), ratio(observed, rows))


def bin_sums(labels: Ints, probabilities: Floats, grade: int) -> Floats:
    """Sum of "predicted minus observed" in each bin and study, ``(studies, BINS)``.

    ``labels``: ``(studies, n)``, each a grade or `MISSING`. Rows without a label are not counted.
    ``probabilities``: ``(studies, n, grades)``.
    """
    bins, p, y = _binned(labels, probabilities, grade)
    sums = np.zeros((len(labels), BINS))
    study = np.broadcast_to(np.arange(len(labels))[:, None], labels.shape)
    # Signed sums, so that they can be added over studies before the absolute value is taken.
    np.add.at(sums, (study, bins), np.where(labels != MISSING, p - y, 0.0))
    return sums


def calibration_errors(sums: Floats, rows: Floats) -> Floats:
    """Expected calibration error: the bins' absolute differences of predicted and observed, averaged over rows.

    ``sums``: ``(..., BINS)``: `bin_sums`, summed over studies.
    ``rows``: ``(...)``: the number of labelled rows.
    """
    return ratio(np.abs(sums).sum(axis=-1), rows)


def _binned(labels: Ints, probabilities: Floats, grade: int) -> tuple[Ints, Floats, Floats]:
    """Bin, probability and truth (1 or 0) of every row; a probability of exactly 1 lies in the last bin."""
    p = probabilities[..., grade]
    return np.minimum((p * BINS).astype(np.int64), BINS - 1), p, (labels == grade).astype(np.float64)


LOWEST = {"kappa_quadratic": -1.0, "kappa_linear": -1.0}
"""The lowest possible value of a figure, where it is not 0."""


def confusions(labels: Ints, decided: Ints, counts: Floats) -> Floats:
    """Confusion matrices ``(1 + replicates, 3, 3)``: labels by decided grades, both ``(studies, n)``."""
    return (counts @ study_confusions(labels, decided)).reshape(-1, len(Grade), len(Grade))


def figure_values(y: Ints, p: Floats, matrices: Floats, counts: Floats) -> Iterator[tuple[str, Floats]]:
    """Name and values ``(1 + replicates,)`` of every figure of a pool of findings.

    ``y``, ``p``: labels ``(studies, n)``, and probabilities ``(studies, n, 3)`` at natural prevalence.
    ``matrices``, ``counts``: from `confusions` and `patient_counts`.
    """
    rows = matrices.sum(axis=(-2, -1))
    severe, worse = int(Grade.SEVERE), int(Grade.MODERATE)
    yield "auc_severe", areas(y, p[..., severe], severe, counts)
    yield "auc_moderate_or_worse", areas(y, p[..., worse:].sum(axis=-1), worse, counts)
    yield "kappa_quadratic", kappas(matrices, 2)
    yield "kappa_linear", kappas(matrices, 1)
    yield "sensitivity_severe", sensitivities(matrices, severe)
    yield "specificity_severe", specificities(matrices, severe)
    yield "sensitivity_moderate_or_worse", sensitivities(matrices, worse)
    yield "specificity_moderate_or_worse", specificities(matrices, worse)
    yield "balanced_accuracy", balanced_accuracies(matrices)
    yield "brier", ratio(counts @ study_briers(y, p), rows)
    for grade in Grade:
        yield f"ece_{grade.column}", calibration_errors(counts @ bin_sums(y, p, grade), rows)
