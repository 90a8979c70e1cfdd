"""Figures of graded findings and of classified images, for the sample and for every bootstrap replicate at once.

An image is a study of one finding; its classes stand in the place of grades. Where something is counted
``(replicates, …)``, it comes from `monai_spine.scoring.bootstrap.patient_counts` times sums over studies.
The definitions are scikit-learn's; the tests compare with it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import mannwhitneyu

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import MISSING, Grade

_STEPS = 128
"""Steps of each kind of row to which scores are rounded for replicates of the area under the curve."""


def study_confusions(labels: Ints, decided: Ints, kinds: int = len(Grade)) -> Floats:
    """Confusion matrix of each study, ``(studies, kinds * kinds)``: label by decided grade, flattened.

    Parameters
    ----------
    labels, decided
        ``(studies, n)``; a label that is `MISSING` counts nothing.
    kinds
        How many grades there are.
    """
    confusions = np.zeros((len(labels), kinds**2))
    study, finding = np.nonzero(labels != MISSING)
    cell = labels[study, finding] * kinds + decided[study, finding]
    np.add.at(confusions, (study, cell), 1.0)
    return confusions


def kappas(confusions: Floats, power: int) -> Floats:
    """Weighted kappa, linear (``power`` 1) or quadratic (2), of matrices ``(..., 3, 3)``; NaN without variation.

    Cohen, Weighted kappa (1968): one minus observed over expected disagreement, weighted by distance to the power.
    """
    grades = np.arange(len(Grade))
    cost = np.abs(np.subtract.outer(grades, grades)) ** power
    total = confusions.sum(axis=(-2, -1))
    observed = (confusions * cost).sum(axis=(-2, -1))
    margins = confusions.sum(axis=-1)[..., :, None] * confusions.sum(axis=-2)[..., None, :]
    return 1 - ratio(observed * total, (margins * cost).sum(axis=(-2, -1)))


def sensitivities(confusions: Floats, lowest: int) -> Floats:
    """Share of findings of at least the ``lowest`` grade that are decided so; matrices ``(..., 3, 3)``."""
    return ratio(confusions[..., lowest:, lowest:].sum(axis=(-2, -1)), confusions[..., lowest:, :].sum(axis=(-2, -1)))


def specificities(confusions: Floats, lowest: int) -> Floats:
    """Share of findings below the ``lowest`` grade that are decided so; matrices ``(..., 3, 3)``."""
    return ratio(confusions[..., :lowest, :lowest].sum(axis=(-2, -1)), confusions[..., :lowest, :].sum(axis=(-2, -1)))


def balanced_accuracies(confusions: Floats) -> Floats:
    """Mean over the grades that occur of the share decided rightly; matrices ``(..., k, k)``."""
    held = confusions.sum(axis=-1)
    recalls = np.nan_to_num(ratio(np.diagonal(confusions, axis1=-2, axis2=-1), held))
    return ratio(recalls.sum(axis=-1), (held > 0).sum(axis=-1))


def areas(labels: Ints, scores: Floats, lowest: int, counts: Floats) -> Floats:
    """Area under the ROC curve of "at least the ``lowest`` grade", ``(replicates,)``; NaN without both kinds.

    The share of pairs of a positive and a negative that the score puts right, ties counting half. The first area is
    exact; those of replicates round the scores to some 256 steps, which moves them by less than .0005.

    Parameters
    ----------
    labels, scores
        ``(studies, n)``; rows without a label are left out.
    counts
        ``(replicates, studies)``, the first row all 1.
    """
    study, finding = np.nonzero(labels != MISSING)
    score, positive = scores[study, finding], labels[study, finding] >= lowest
    if not 0 < positive.sum() < len(positive):
        return np.full(len(counts), np.nan)
    exact = 1 - mannwhitneyu(score[~positive], score[positive]).statistic / (positive.sum() * (~positive).sum())
    step = _steps(score, positive)
    above, below = (_tally(study[kind], step[kind], counts[1:]) for kind in (positive, ~positive))
    outdone = below.cumsum(axis=1) - below / 2
    replicates = ratio((above * outdone).sum(axis=1), above.sum(axis=1) * below.sum(axis=1))
    return np.concatenate([[exact], replicates])


def average_precisions(labels: Ints, scores: Floats, lowest: int, counts: Floats) -> Floats:
    """Mean precision over the recall gained at each threshold, ``(replicates,)``; NaN without both kinds.

    Parameters and rounding as in `areas`.
    """
    study, finding = np.nonzero(labels != MISSING)
    score, positive = scores[study, finding], labels[study, finding] >= lowest
    if not 0 < positive.sum() < len(positive):
        return np.full(len(counts), np.nan)
    every = np.unique(score, return_inverse=True)[1]
    exact = _precisions(*(np.bincount(every[kind], minlength=every.max() + 1)[None] for kind in (positive, ~positive)))
    step = _steps(score, positive)
    replicates = _precisions(*(_tally(study[kind], step[kind], counts[1:]) for kind in (positive, ~positive)))
    return np.concatenate([exact, replicates])


def study_briers(labels: Ints, probabilities: Floats) -> Floats:
    """Sum over a study's labelled rows of the squared errors of all probabilities, ``(studies,)``.

    Parameters
    ----------
    labels, probabilities
        ``(studies, n)`` and ``(studies, n, grades)``.
    """
    truth = labels[..., None] == np.arange(probabilities.shape[-1])
    errors = ((probabilities - truth) ** 2).sum(axis=-1)
    return np.asarray(np.where(labels != MISSING, errors, 0.0).sum(axis=-1))


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Quotients; NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    nothing = denominator == 0
    return np.where(nothing, np.nan, numerator / np.where(nothing, 1.0, denominator))


def _precisions(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> Floats:
    """Average precision of tallies ``(replicates, steps)``, steps in ascending order of the score."""
    right, wrong = (np.asarray(tally, dtype=np.float64)[:, ::-1] for tally in (positives, negatives))
    found = right.cumsum(axis=1)
    precision = np.nan_to_num(ratio(found, found + wrong.cumsum(axis=1)))
    return ratio((right * precision).sum(axis=1), found[:, -1])


def _steps(score: Floats, positive: npt.NDArray[np.bool_]) -> Ints:
    """Ranks of the scores, of which there are at most twice ``_STEPS``, evenly spread over either kind of row."""
    edges = np.unique(score)
    if len(edges) > 2 * _STEPS:
        shares = np.linspace(0, 1, _STEPS)
        edges = np.unique([np.quantile(score[kind], shares, method="lower") for kind in (positive, ~positive)])
    return np.searchsorted(edges, score, side="right")


def _tally(study: Ints, step: Ints, counts: Floats) -> Floats:
    """How many rows have each step in each replicate, ``(replicates, steps)``."""
    if not len(counts):
        return np.zeros((0, 2 * _STEPS + 1))
    rows = np.zeros((counts.shape[1], 2 * _STEPS + 1), dtype=np.float32)
    np.add.at(rows, (study, step), 1.0)
    return np.asarray(counts.astype(np.float32) @ rows, dtype=np.float64)
