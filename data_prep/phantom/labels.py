"""Recorded labels, the probability of each, and the best score that anyone can expect with them.

A reader sees the severity plus Gaussian noise and cuts it at the thresholds. With a small probability the reader makes
a mistake and records a grade at the frequency that this grade has at that level. Both leave the shares of the labels as
they are, and ``P(label | measures)`` is known in closed form.

The competition's score is the mean of four weighted log losses (weights 1, 2 and 4 by true grade): canal, foramina,
recesses, and any-severe-canal of a study. A row's expected loss ``sum_g w_g p_g (-ln q_g)`` is smallest at
``q_g = w_g p_g / sum_h w_h p_h``. The any-severe part uses the largest severe probability among the five canal rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr  # scipy.stats takes half a second more to import

from data_prep.phantom.disease import CUTS, model
from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, MISSING, Grade, Group

MISTAKE = {Group.SPINAL: 0.015, Group.FORAMINAL: 0.03, Group.SUBARTICULAR: 0.04}
"""Probability that a label has nothing to do with the image: wrong level, wrong side, slip of the pen."""

Labels = npt.NDArray[np.signedinteger]
WEIGHTS = np.array([grade.weight for grade in Grade], dtype=np.float64)
EPS = float(np.finfo(np.float64).eps)
_GROUPS = np.array([list(Group).index(finding.condition.group) for finding in FINDINGS])
_CANAL = np.equal(_GROUPS, list(Group).index(Group.SPINAL))


def posterior(severity: Array) -> Array:
    """``P(label | severity)``, shape ``(..., 25)`` to ``(..., 25, 3)``; rows sum to 1."""
    stats = model()
    noise = stats.spread * np.sqrt(1.0 - stats.reliability)
    below = [ndtr((cut - severity) / noise) for cut in CUTS]
    attentive = np.stack([below[0], below[1] - below[0], 1.0 - below[1]], axis=-1)
    mistake = np.array([MISTAKE[finding.condition.group] for finding in FINDINGS])[:, None]
    return (1.0 - mistake) * attentive + mistake * stats.shares


def read(severity: Array, rng: np.random.Generator) -> Array:
    """Labels 0, 1, 2 of one reader for severities of shape ``(25,)``."""
    cumulative = posterior(severity).cumsum(axis=-1)
    return (rng.random(len(FINDINGS))[:, None] > cumulative[:, :2]).sum(axis=-1)


def best_rows(probabilities: Array) -> Array:
    """The submission that minimises every row's expected weighted loss; shape ``(..., 3)``, rows sum to 1."""
    weighted = probabilities * WEIGHTS
    return weighted / weighted.sum(axis=-1, keepdims=True)


def prior_rows(labels: Labels) -> Array:
    """The weighted prior of every level and condition, from labels ``(studies, 25)``; shape ``(studies, 25, 3)``."""
    counts = np.stack([(labels == grade).sum(axis=0) for grade in Grade], axis=-1).astype(np.float64)
    return np.broadcast_to(best_rows((counts + EPS) / (counts + EPS).sum(-1, keepdims=True)), (*labels.shape, 3))


def score(labels: Labels, rows: Array) -> dict[str, float]:
    """The competition's score and its parts of ``rows`` ``(studies, 25, 3)`` against ``labels`` ``(studies, 25)``."""
    rows = rows / rows.sum(axis=-1, keepdims=True)
    parts = {group.value: _group_loss(labels, rows, np.equal(_GROUPS, i)) for i, group in enumerate(Group)}
    parts["any_severe_spinal"] = _any_severe_loss(labels[:, _CANAL], rows[:, _CANAL])
    return {"score": float(np.nanmean(list(parts.values()))), **parts}


def _group_loss(labels: Labels, rows: Array, members: npt.NDArray[np.bool_]) -> float:
    labels, rows = labels[:, members], np.clip(rows[:, members], EPS, 1 - EPS)
    recorded = labels != MISSING
    true = labels[recorded].astype(int)
    if not true.size:
        return float("nan")
    weights = WEIGHTS[true]
    return float((weights * -np.log(rows[recorded][np.arange(len(true)), true])).sum() / weights.sum())


def _any_severe_loss(labels: Labels, rows: Array) -> float:
    """Binary cross-entropy of any severe canal level, weighted by the worst recorded level of the study."""
    recorded = labels != MISSING
    studies = recorded.any(axis=1)
    worst = labels.max(axis=1)[studies].astype(int)
    if not worst.size:
        return float("nan")
    severe = np.where(recorded, rows[..., Grade.SEVERE], 0.0).max(axis=1)[studies]
    severe = np.clip(severe, EPS, 1 - EPS)
    loss = np.where(worst == Grade.SEVERE, -np.log(severe), -np.log(1 - severe))
    return float((WEIGHTS[worst] * loss).sum() / WEIGHTS[worst].sum())


def floor_report(labels: Labels, probabilities: Array) -> dict[str, object]:
    """The content of `floor.json`: floor, prior and uniform score on the recorded labels ``(studies, 25)``.

    ``probabilities`` ``(studies, 25, 3)`` are those of `posterior`.
    """
    return {
        "studies": len(labels),
        "floor": score(labels, best_rows(probabilities)),
        "prior": score(labels, prior_rows(labels)),
        "uniform": score(labels, np.full((*labels.shape, 3), 1 / 3)),
    }
