"""The competition's score of bootstrap replicates, and so its confidence interval and that of a difference."""

from __future__ import annotations

import numpy as np

from monai_spine.scoring.bootstrap import Estimate, estimate
from monai_spine.scoring.competition import WEIGHTS, Floats, Ints, competition_score, normalised, row_losses
from monai_spine.spine import MISSING, Group
from monai_spine.tables.out_of_fold import columns_of


def score_replicates(labels: Ints, probabilities: Floats, counts: Floats) -> dict[str, Floats]:
    """The score and its parts, ``(1 + replicates,)`` each; a part without labels is NaN.

    Parameters
    ----------
    labels, probabilities
        ``(studies, 25)`` and ``(studies, 25, 3)``.
    counts
        Of `monai_spine.scoring.bootstrap.patient_counts`.
    """
    losses, weights = row_losses(labels, normalised(probabilities))
    parts = {}
    for group in Group:
        own = columns_of(group)
        parts[group.value] = _weighted_means(losses[:, own], weights[:, own], counts)
    parts["any_severe_spinal"] = _weighted_means(*_any_severe(labels, probabilities), counts)
    return {"score": np.mean(list(parts.values()), axis=0), **parts}


def score_estimate(replicates: Floats) -> Estimate:
    """A score's interval."""
    return estimate(replicates, highest=np.inf)


def difference(replicates: Floats, others: Floats) -> Estimate:
    """By how much the first score lies above the other, on the same replicates."""
    return estimate(replicates - others, lowest=-np.inf, highest=np.inf)


def _weighted_means(losses: Floats, weights: Floats, counts: Floats) -> Floats:
    total = counts @ weights.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts @ (losses * weights).sum(axis=1) / total)


def _any_severe(labels: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """Loss and weight of every study's any-severe-spinal term, ``(studies, 1)`` each."""
    worst = labels[:, columns_of(Group.SPINAL)].max(axis=1)
    alone = [competition_score(labels[n : n + 1], probabilities[n : n + 1]) for n in range(len(labels))]
    losses = np.nan_to_num([score.any_severe_spinal for score in alone])
    return losses[:, None], np.where(worst == MISSING, 0.0, WEIGHTS[worst])[:, None]
