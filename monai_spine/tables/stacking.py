"""Stacking: correct pooled probabilities by the models' differences and by the other findings of the study.

Each group of conditions has one linear model on `features`, shared by levels and sides::

    logits = log(pooled) + (0, features @ weights)

It starts at the pooled probabilities, and a ridge draws it back to them. The strength of the ridge is chosen for each
group by cross-validation. A hidden layer of 8 units changed the score of simulated models by less than .0003, so there
is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.patient_resampling import grouped_folds
from monai_spine.spine import FINDINGS, MISSING, Condition, Finding, Grade, Group, Level, columns_of
from monai_spine.tables.pooling import TINY, GroupLoss, minimise

RIDGES = (0.1, 0.02, 0.004, 0.0008)
"""Ridges to choose from: the loss of a squared weight of 1, for a feature of standard deviation 1."""

_FOLDS = 3
_OFFSETS = (-1, 0, 1)
"""The levels whose findings are features, counted from the finding's own: above, the same, below."""
_LIMIT = 8.0
"""Log ratios are cut to this size, which is 1 against 3,000: a larger one carries no more information."""
_CONDITIONS = list(Condition)
_LEVELS = len(Level)
_RATIOS = len(Grade) - 1


@dataclass(frozen=True)
class Head:
    """One group's linear model: the ridge it was fitted with, and its weights ``(F, 2)``."""

    ridge: float
    weights: Floats


Stack = Mapping[Group, Head]
"""A head for each group that has one."""


def apply_stack(stack: Stack, probabilities: Floats, pooled: Floats) -> Floats:
    """Corrected probabilities, of the shape of ``pooled``.

    ``probabilities``, ``pooled``: ``(models, studies, 25, 3)`` and ``(studies, 25, 3)``.
    """
    inputs = np.nan_to_num(features(probabilities, pooled))
    logits = np.log(np.clip(pooled, TINY, 1))
    for group, head in stack.items():
        own = columns_of(group)
        logits[:, own, Grade.MODERATE :] += inputs[:, own] @ head.weights
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def fit_stack(grades: Ints, probabilities: Floats, pooled: Floats, patients: Sequence[str], seed: int) -> Stack:
    """Learn a head for each group with labels of at least two grades; other groups keep their pooled probabilities.

    ``grades``: ``(studies, 25)``, `MISSING` in rows that no model has.
    ``probabilities``, ``pooled``: see `features`. A difference that is NaN counts as 0: it corrects nothing.
    ``patients``: the patient of each study: the cross-validation that chooses the ridge keeps a patient's studies
    together.
    """
    inputs = np.nan_to_num(features(probabilities, pooled))
    logs = np.log(np.clip(pooled, TINY, 1))
    fold_of = grouped_folds(grades, patients, min(_FOLDS, len(set(patients))), seed)
    return {group: _fit(group, grades, inputs, logs, fold_of) for group in groups_with_grades(grades)}


def groups_with_grades(grades: Ints, lowest: int = 2) -> list[Group]:
    """The groups whose labels ``(studies, 25)`` have at least so many different grades."""
    counts = {group: len(set(grades[:, columns_of(group)].ravel().tolist()) - {MISSING}) for group in Group}
    return [group for group, count in counts.items() if count >= lowest]


def features(probabilities: Floats, pooled: Floats) -> Floats:
    """Features of every finding, ``(studies, 25, F)`` with ``F = 30 + 2 * models + 5``.

    In this order: the pooled log ratios of the five conditions at three levels (30); the differences between each
    model's log ratios of the finding and the pooled ones (2 for each model); and which level it is (5, one of them 1).

    All features of a finding are seen from its own side: "the recess on the same side, one level higher" is one
    feature, for left and right findings alike. So both sides can share weights.

    ``probabilities``: ``(models, studies, 25, 3)``, NaN where a model has no row; its differences are then NaN.
    ``pooled``: ``(studies, 25, 3)``; a row that no model has holds a third for each grade, so its log ratios are 0.
    """
    ratios = log_ratios(pooled)
    own = np.moveaxis(log_ratios(probabilities), 0, 2) - ratios[:, :, None]
    levels = np.tile(np.eye(_LEVELS), (len(_CONDITIONS), 1))
    return np.concatenate(
        [
            _surroundings(ratios),
            own.reshape(*own.shape[:2], -1),
            np.broadcast_to(levels, (len(pooled), *levels.shape)),
        ],
        axis=-1,
    )


def log_ratios(probabilities: Floats) -> Floats:
    """``log p_moderate - log p_normal`` and ``log p_severe - log p_normal``: ``(..., 3)`` to ``(..., 2)``."""
    logs = np.log(np.clip(probabilities, 1e-12, 1))
    return np.clip(logs[..., Grade.MODERATE :] - logs[..., :1], -_LIMIT, _LIMIT)


def _fit(group: Group, grades: Ints, inputs: Floats, logs: Floats, fold_of: np.ndarray) -> Head:
    own = columns_of(group)
    inputs, logs = inputs[:, own], logs[:, own]
    # One ridge serves all features, so they need one scale. A feature that does not vary keeps its own.
    spread = inputs.std(axis=(0, 1))
    scale = np.where(spread > 0, spread, 1.0)
    rows = torch.from_numpy(inputs / scale).float(), torch.from_numpy(logs).float()
    losses = np.zeros(len(RIDGES))
    for fold in np.unique(fold_of):
        held_out = np.flatnonzero(fold_of == fold)
        path = _path(group, grades, rows, np.flatnonzero(fold_of != fold), RIDGES)
        losses += [len(held_out) * _loss(group, grades, rows, held_out, weights) for weights in path]
    best = int(losses.argmin())  # of equal ones the first, which is the strongest ridge
    weights = _path(group, grades, rows, np.arange(len(grades)), RIDGES[: best + 1])[-1]
    return Head(RIDGES[best], weights.double().numpy() / scale[:, None])


Rows = tuple[torch.Tensor, torch.Tensor]


def _path(group: Group, grades: Ints, rows: Rows, studies: np.ndarray, ridges: Sequence[float]) -> list[torch.Tensor]:
    """Weights for each ridge, from the strongest to the weakest; each fit starts where the one before ended."""
    inputs, logs = (part[studies] for part in rows)
    loss = GroupLoss(grades[studies], group)
    weights = torch.zeros(inputs.shape[-1], len(Grade) - 1, requires_grad=True)
    path = []
    for ridge in ridges:

        def value(ridge: float = ridge) -> torch.Tensor:
            return loss(_corrected(inputs, logs, weights)) + ridge * weights.square().sum()

        minimise(weights, value, tolerance=1e-5)  # a tenth takes twice as long and changes the score by .00003
        path.append(weights.detach().clone())
    return path


@torch.no_grad()
def _loss(group: Group, grades: Ints, rows: Rows, studies: np.ndarray, weights: torch.Tensor) -> float:
    inputs, logs = (part[studies] for part in rows)
    return float(GroupLoss(grades[studies], group)(_corrected(inputs, logs, weights)))


def _corrected(inputs: torch.Tensor, logs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    correction = inputs @ weights
    return logs + torch.cat([torch.zeros_like(correction[..., :1]), correction], dim=-1)


def _surroundings(ratios: Floats) -> Floats:
    """Log ratios ``(studies, 25, 2)`` around each finding, ``(studies, 25, 30)``; 0 beyond the first and last level.

    The canal has no side, so its features are the means of those seen from the left and from the right.
    """
    study = ratios.reshape(len(ratios), len(_CONDITIONS), _LEVELS, _RATIOS)
    flipped = study[:, [_CONDITIONS.index(condition.flipped) for condition in Condition]]
    as_is, swapped = _by_level(study), _by_level(flipped)
    around = [_from_own_side(finding, as_is, swapped) for finding in FINDINGS]
    return np.stack(around, axis=1)


def _by_level(study: Floats) -> Floats:
    """``(studies, conditions, levels, 2)`` to ``(studies, levels, 30)``."""
    padded = np.pad(study, ((0, 0), (0, 0), (1, 1), (0, 0)))
    shifted = [padded[:, :, 1 + offset : 1 + offset + _LEVELS] for offset in _OFFSETS]
    around = np.stack(shifted, axis=2)  # studies, conditions, offsets, levels, 2
    return np.moveaxis(around, 3, 1).reshape(len(study), _LEVELS, -1)


def _from_own_side(finding: Finding, as_is: Floats, swapped: Floats) -> Floats:
    """The surroundings of a finding, ``(studies, 30)``, from the study as it is and with its sides swapped."""
    condition, level = finding.condition, list(Level).index(finding.level)
    if condition.side is None:
        return (as_is[:, level] + swapped[:, level]) / 2
    is_first = _CONDITIONS.index(condition) < _CONDITIONS.index(condition.flipped)
    return (as_is if is_first else swapped)[:, level]
