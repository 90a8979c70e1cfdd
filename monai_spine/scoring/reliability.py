"""Reliability: of the findings with a predicted probability of .3, are three in ten really of that grade?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import MISSING

BINS = 15
"""Bins of equal width, as in Guo et al., On calibration of modern neural networks (2017)."""


@dataclass(frozen=True)
class Reliability:
    """Predicted probabilities and observed shares, bin by bin.

    Attributes
    ----------
    rows
        ``(BINS,)``: how many findings have a probability in the bin.
    predicted, observed
        ``(BINS,)``: their mean probability, and the share of them that has the grade; NaN in empty bins.
    """

    rows: Ints
    predicted: Floats
    observed: Floats


def reliability(labels: Ints, probabilities: Floats, grade: int) -> Reliability:
    """The reliability curve of one grade over all rows with a label; arguments as in `bin_sums`."""
    known = labels != MISSING
    bins, p, y = _binned(labels, probabilities, grade)
    rows, predicted, observed = (np.bincount(bins[known], weights[known], BINS) for weights in (np.ones_like(p), p, y))
    with np.errstate(invalid="ignore"):
        return Reliability(rows.astype(np.int64), predicted / rows, observed / rows)


def bin_sums(labels: Ints, probabilities: Floats, grade: int) -> Floats:
    """Sum of "predicted minus observed" in each bin and study, ``(studies, BINS)``.

    Parameters
    ----------
    labels
        ``(studies, n)``, each a grade or `MISSING`. Rows without a label are not counted.
    probabilities
        ``(studies, n, grades)``.
    grade
        The grade whose probabilities are examined.
    """
    bins, p, y = _binned(labels, probabilities, grade)
    sums = np.zeros((len(labels), BINS))
    study = np.broadcast_to(np.arange(len(labels))[:, None], labels.shape)
    # Signed sums, so that they can be added over studies before the absolute value is taken.
    np.add.at(sums, (study, bins), np.where(labels != MISSING, p - y, 0.0))
    return sums


def calibration_errors(sums: Floats, rows: Floats) -> Floats:
    """Expected calibration error: the bins' absolute differences of predicted and observed, averaged over rows.

    Parameters
    ----------
    sums
        ``(..., BINS)``: `bin_sums`, summed over studies.
    rows
        ``(...)``: the number of labelled rows.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs(sums).sum(axis=-1) / rows)


def _binned(labels: Ints, probabilities: Floats, grade: int) -> tuple[Ints, Floats, Floats]:
    """Bin, probability and truth (1 or 0) of every row; a probability of exactly 1 lies in the last bin."""
    p = probabilities[..., grade]
    return np.minimum((p * BINS).astype(np.int64), BINS - 1), p, (labels == grade).astype(np.float64)
