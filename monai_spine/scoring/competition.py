"""The score of the RSNA 2024 Lumbar Spine Degenerative Classification competition, and the priors to compare it with.

Labels are ``(studies, 25)`` integers: 0, 1, 2, or `MISSING`. Probabilities are ``(studies, 25, 3)``. Both follow the
order of `monai_spine.spine.FINDINGS`.

The score is the competition's public metric: the mean of four weighted log losses (spinal, foraminal, subarticular,
and any severe spinal stenosis), with natural logarithms and the weights 1, 2 and 4. It is written here instead of
being taken from scikit-learn, because old versions of scikit-learn normalise rows silently and new ones do not.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from monai_spine.scoring.prevalence import WEIGHTS, normalised
from monai_spine.spine import FINDINGS, MISSING, Grade, Group, columns_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

JEFFREYS = 0.5
"""Pseudo-count for a prior that is learnt on one cohort and scored on another (Jeffreys' choice for a multinomial).

Without it, a grade that the first cohort lacks gets the probability 0 and an almost infinite loss on the second.
"""


@dataclass(frozen=True)
class Score:
    """The competition's score and its four parts. Lower is better; a part without any label is NaN."""

    score: float
    spinal: float
    foraminal: float
    subarticular: float
    any_severe_spinal: float

    def as_dict(self) -> dict[str, float]:
        """The five figures by name."""
        return asdict(self)


def competition_score(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Score:
    """Score probabilities against labels; rows without a label are left out.

    ``labels``: ``(studies, 25)``, each 0, 1, 2 or `MISSING`.
    ``probabilities``: ``(studies, 25, 3)``, not negative. Each row is normalised to sum 1, then clipped to float64's
    epsilon.
    Raises `ValueError` if a shape or a value is another one.
    """
    labels, probabilities = _checked(labels, probabilities)
    losses, weights = row_losses(labels, probabilities)
    # Left and right findings of a condition are pooled: each group has one weighted mean over all of its rows.
    groups = [_weighted_mean(losses[:, own], weights[:, own]) for own in map(columns_of, Group)]
    spinal, foraminal, subarticular = groups
    own = columns_of(Group.SPINAL)
    any_severe = _any_severe_spinal(labels[:, own], probabilities[:, own])
    return Score(float(np.mean([*groups, any_severe])), spinal, foraminal, subarticular, any_severe)


def row_losses(labels: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """Log loss and weight of every row, both ``(studies, 25)``; a row without a label has weight 0."""
    known = labels != MISSING
    grade = np.where(known, labels, 0)
    truth = np.take_along_axis(probabilities, grade[..., None], axis=-1)[..., 0]
    return -np.log(truth), np.where(known, WEIGHTS[grade], 0.0)


def level_prior(labels: npt.ArrayLike, pseudo_count: float = 0.0) -> Floats:
    """The best constant answer for each finding: weighted shares of the grades, ``(25, 3)``.

    The weighted log loss of a constant ``p`` is least at ``p_g`` proportional to ``count_g * weight_g``. A finding
    without any label gets a third for each grade.

    ``labels``: ``(studies, 25)``.
    ``pseudo_count``: how many studies of each grade to add to the count, such as `JEFFREYS`.
    """
    labels = np.asarray(labels)
    counts = np.stack([(labels == grade).sum(axis=0) for grade in Grade], axis=-1) + pseudo_count
    weighted = counts * WEIGHTS
    total = weighted.sum(axis=-1, keepdims=True)
    return np.where(total > 0, weighted / np.where(total > 0, total, 1.0), 1 / len(Grade))


def constant_score(labels: npt.ArrayLike, rows: Floats) -> Score:
    """Score of giving every study the same ``(25, 3)`` rows, such as a `level_prior` or `uniform_rows`."""
    labels = np.asarray(labels)
    return competition_score(labels, np.broadcast_to(rows, (*labels.shape, len(Grade))))


def against_prior(score: float, prior: float) -> str:
    """In words, whether a score or a loss is better than the prior's, which needs no image. Lower is better."""
    if math.isnan(score) or math.isnan(prior):
        return "not comparable with the prior"
    if score < prior:
        return f"better than the prior ({prior:.4f}) by {prior - score:.4f}"
    return f"{'worse than' if score > prior else 'equal to'} the prior ({prior:.4f}): nothing learnt"


def uniform_rows() -> Floats:
    """A third for each grade of each finding, ``(25, 3)``."""
    return np.full((len(FINDINGS), len(Grade)), 1 / len(Grade))


def _checked(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[Ints, Floats]:
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.shape[1] != len(FINDINGS):
        raise ValueError(f"expected labels of shape (studies, {len(FINDINGS)}), but found {labels.shape}")
    if np.shape(probabilities) != (*labels.shape, len(Grade)):
        raise ValueError(
            f"expected probabilities of shape {(*labels.shape, len(Grade))}, but found {np.shape(probabilities)}"
        )
    if not np.isin(labels, [MISSING, *Grade]).all():
        raise ValueError(f"expected labels 0, 1, 2 or {MISSING}, but found {sorted(set(labels.ravel().tolist()))}")
    return labels.astype(np.int64), normalised(probabilities)


def _weighted_mean(losses: Floats, weights: Floats) -> float:
    total = weights.sum()
    return float((losses * weights).sum() / total) if total > 0 else float("nan")


def _any_severe_spinal(labels: Ints, probabilities: Floats) -> float:
    """Weighted binary log loss of "some canal level is severe"; every array holds the five spinal findings only.

    A study has one row: its label is the worst level's, its prediction the largest probability of severe at any level.
    """
    known = labels != MISSING
    studies = known.any(axis=1)
    if not studies.any():
        return float("nan")
    labels, known, severe = labels[studies], known[studies], probabilities[studies, :, Grade.SEVERE]
    # Levels without a label are left out of the worst label and of the prediction alike.
    worst = np.where(known, labels, 0).max(axis=1)
    predicted = np.where(known, severe, 0.0).max(axis=1)
    # log1p keeps the digits of a loss near 0, where 1 - p would be rounded.
    losses = -np.where(worst == Grade.SEVERE, np.log(predicted), np.log1p(-predicted))
    # The weight is that of the worst level: a study whose worst level is moderate counts twice, as a "no".
    return _weighted_mean(losses, WEIGHTS[worst])
