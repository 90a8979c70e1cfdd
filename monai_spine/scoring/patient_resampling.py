"""Resampling of patients: confidence intervals by the bootstrap, and folds for fitting on tables.

Rows of one patient are not independent. So patients are drawn, or put into folds, each with all of their studies and
rows. A figure that is made of sums over studies is computed for all bootstrap replicates at once by a matrix product:
``counts @ sums``.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from monai_spine.errors import InvalidOptionError
from monai_spine.scoring.competition import Floats, Ints, competition_score, row_losses
from monai_spine.scoring.figures import ratio
from monai_spine.scoring.prevalence import WEIGHTS, normalised
from monai_spine.spine import MISSING, Grade, Group, columns_of

REPLICATES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its confidence interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, which has no NaN: None instead."""
        return {name: round(figure, 6) if np.isfinite(figure) else None for name, figure in asdict(self).items()}

    def as_columns(self, name: str) -> dict[str, float | None]:
        """For a table: ``name``, ``name_low`` and ``name_high``."""
        return {name + end: value for end, value in zip(("", "_low", "_high"), self.as_dict().values(), strict=True)}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]" if np.isfinite(self.value) else "–"


def patient_counts(patients: Sequence[str], replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """How often each study counts in each replicate, ``(1 + replicates, studies)``.

    The first row is the sample itself: every study counts once. Each other row draws as many patients as there are,
    with replacement.

    ``patients``: the patient of each study.
    """
    names, patient_of = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    return np.concatenate([np.ones((1, len(patient_of))), drawn[:, patient_of].astype(np.float64)])


def estimate(figures: Floats, lowest: float = 0.0, highest: float = 1.0) -> Estimate:
    """The first figure, with the interval that the replicates give.

    ``figures``: ``(1 + replicates,)``, for the rows of `patient_counts`. Replicates that are NaN are left out. If at
    least half of them are NaN, there is no interval.
    ``lowest``, ``highest``: the values that the figure can have; the interval is cut to them.
    """
    value, replicates = float(figures[0]), figures[1:][np.isfinite(figures[1:])]
    if not np.isfinite(value) or len(replicates) <= len(figures[1:]) / 2:
        return Estimate(value, float("nan"), float("nan"))
    quantiles = np.quantile(replicates, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    # Drawing patients adds noise of its own, which biases figures such as the calibration error upwards. So the
    # interval is shifted until the replicates' mean lies at the figure.
    low, high = quantiles - replicates.mean() + value
    return Estimate(value, float(np.clip(low, lowest, value)), float(np.clip(high, value, highest)))


def score_replicates(labels: Ints, probabilities: Floats, counts: Floats) -> dict[str, Floats]:
    """The competition's score and its parts, ``(1 + replicates,)`` each; a part without labels is NaN.

    ``labels``, ``probabilities``: ``(studies, 25)`` and ``(studies, 25, 3)``.
    ``counts``: from `patient_counts`.
    """
    losses, weights = row_losses(labels, normalised(probabilities))
    parts = {}
    for group in Group:
        own = columns_of(group)
        parts[group.value] = _weighted_means(losses[:, own], weights[:, own], counts)
    parts["any_severe_spinal"] = _weighted_means(*_any_severe(labels, probabilities), counts)
    return {"score": np.mean(list(parts.values()), axis=0), **parts}


def score_estimate(replicates: Floats) -> Estimate:
    """A score with its interval; a log loss has no upper bound."""
    return estimate(replicates, highest=np.inf)


def difference(replicates: Floats, others: Floats) -> Estimate:
    """The first score minus the other, with an interval from the same replicates.

    Both scores vary with the patients that are drawn, so the interval of the difference is much narrower than theirs.
    """
    return estimate(replicates - others, lowest=-np.inf, highest=np.inf)


def _weighted_means(losses: Floats, weights: Floats, counts: Floats) -> Floats:
    return ratio(counts @ (losses * weights).sum(axis=1), counts @ weights.sum(axis=1))


def _any_severe(labels: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """Loss and weight of every study's any-severe-spinal term, ``(studies, 1)`` each."""
    worst = labels[:, columns_of(Group.SPINAL)].max(axis=1)
    # Of one study alone the weighted mean is its loss, whatever the weight.
    alone = [competition_score(labels[n : n + 1], probabilities[n : n + 1]) for n in range(len(labels))]
    losses = np.nan_to_num([score.any_severe_spinal for score in alone])
    return losses[:, None], np.where(worst == MISSING, 0.0, WEIGHTS[worst])[:, None]


Rows = npt.NDArray[np.intp]
"""Numbers of studies, or a fold for every study."""


def grouped_folds(grades: Ints, patients: Sequence[str], folds: int, seed: int = 0) -> Rows:
    """A fold from 0 to ``folds - 1`` for every study.

    There are three strata of patients: with a severe canal stenosis, with another severe finding only, and without
    severe findings. The patients of each stratum are dealt to the folds in turn, so that no two folds differ by more
    than one patient of a stratum. With few severe findings, a fold can still be without any.

    ``grades``: ``(studies, 25)``.
    ``patients``: the patient of each study.
    Raises `InvalidOptionError` if there are fewer than 2 folds, or fewer patients than folds.
    """
    names, patient_of = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if not 2 <= folds <= len(names):
        raise InvalidOptionError(
            f"expected a number of folds from 2 to {len(names)}, the number of patients, but found --folds {folds}"
        )
    severe = grades == Grade.SEVERE
    stratum = np.zeros(len(names), dtype=np.int64)
    # The canal has a stratum of its own, because the score's any-severe part depends on it alone.
    spinal = severe[:, columns_of(Group.SPINAL)].any(axis=1)
    np.maximum.at(stratum, patient_of, np.where(spinal, 2, severe.any(axis=1)))
    # Sorted by stratum and at random within it, then dealt out like cards.
    order = np.lexsort((np.random.default_rng(seed).permutation(len(names)), stratum))
    fold_of_patient = np.empty(len(names), dtype=np.intp)
    fold_of_patient[order] = np.arange(len(names)) % folds
    return fold_of_patient[patient_of]


def out_of_fold(fold_of: Rows, fitted: Callable[[Rows, Rows], Floats], template: Floats) -> Floats:
    """Out-of-fold answers: ``fitted(training, held_out)`` for every fold, joined in the order of the studies.

    ``fitted``: takes the numbers of the studies to fit on, and of the studies held out. Returns an answer for each of
    the latter.
    ``template``: an array of the shape that all answers together have, an entry for each study.
    """
    answers = np.empty_like(template)
    for fold in np.unique(fold_of):
        held_out = np.flatnonzero(fold_of == fold)
        answers[held_out] = fitted(np.flatnonzero(fold_of != fold), held_out)
    return answers
