"""Stacking: correct a pooled answer by what the models and the study's other findings say.

Each group of conditions has one linear model on `context.features`, shared by levels and sides::

    logits = log(pooled) + (0, features @ weights)

It begins at the pooled answer and is drawn back to it by a ridge, whose strength is chosen by cross-validation for each
group. A hidden layer of 8 changed the score of simulated models by less than .0003, so there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.grouped_folds import grouped_folds
from monai_spine.spine import Grade, Group
from monai_spine.tables.ensemble.context import features
from monai_spine.tables.ensemble.fitting import TINY, GroupLoss, minimise
from monai_spine.tables.out_of_fold import columns_of

RIDGES = (0.1, 0.02, 0.004, 0.0008)
"""Strengths to choose from, in units of the loss for squared weights of features of standard deviation 1."""

_FOLDS = 3


@dataclass(frozen=True)
class Head:
    """One group's linear model: the ridge it was fitted with, and its weights ``(F, 2)``."""

    ridge: float
    weights: Floats


Stack = Mapping[Group, Head]
"""A head for each group."""


def apply_stack(stack: Stack, probabilities: Floats, pooled: Floats) -> Floats:
    """Corrected probabilities, of the shape of ``pooled``.

    Parameters
    ----------
    probabilities, pooled
        ``(models, studies, 25, 3)`` and ``(studies, 25, 3)``.
    """
    inputs = features(probabilities, pooled)
    logits = np.log(np.clip(pooled, TINY, 1))
    for group, head in stack.items():
        own = columns_of(group)
        logits[:, own, Grade.MODERATE :] += inputs[:, own] @ head.weights
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def fit_stack(grades: Ints, probabilities: Floats, pooled: Floats, patients: Sequence[str], seed: int = 0) -> Stack:
    """Learn a head for each group.

    Parameters
    ----------
    grades
        ``(studies, 25)``.
    probabilities, pooled
        ``(models, studies, 25, 3)`` and ``(studies, 25, 3)``.
    patients
        Of each study: the ridge is chosen by a cross-validation in which a patient's studies stay together.
    """
    inputs = features(probabilities, pooled)
    logs = np.log(np.clip(pooled, TINY, 1))
    fold_of = grouped_folds(grades, patients, min(_FOLDS, len(set(patients))), seed)
    return {group: _fit(group, grades, inputs, logs, fold_of) for group in Group}


def _fit(group: Group, grades: Ints, inputs: Floats, logs: Floats, fold_of: np.ndarray) -> Head:
    own = columns_of(group)
    inputs, logs = inputs[:, own], logs[:, own]
    spread = inputs.std(axis=(0, 1))
    scale = np.where(spread > 0, spread, 1.0)
    rows = torch.from_numpy(inputs / scale).float(), torch.from_numpy(logs).float()
    losses = np.zeros(len(RIDGES))
    for fold in np.unique(fold_of):
        held_out = np.flatnonzero(fold_of == fold)
        path = _path(group, grades, rows, np.flatnonzero(fold_of != fold), RIDGES)
        losses += [len(held_out) * _loss(group, grades, rows, held_out, weights) for weights in path]
    best = int(losses.argmin())
    weights = _path(group, grades, rows, np.arange(len(grades)), RIDGES[: best + 1])[-1]
    return Head(RIDGES[best], weights.double().numpy() / scale[:, None])


Rows = tuple[torch.Tensor, torch.Tensor]


def _path(group: Group, grades: Ints, rows: Rows, studies: np.ndarray, ridges: Sequence[float]) -> list[torch.Tensor]:
    """Weights for each ridge, from the strongest down: each begins where the one before ended."""
    inputs, logs = (part[studies] for part in rows)
    loss = GroupLoss(grades[studies], group)
    weights = torch.zeros(inputs.shape[-1], len(Grade) - 1, requires_grad=True)
    path = []
    for ridge in ridges:

        def value(ridge: float = ridge) -> torch.Tensor:
            return loss(_corrected(inputs, logs, weights)) + ridge * weights.square().sum()

        minimise(weights, value, tolerance=1e-5)  # a tenth of it takes twice as long and moves the score by .00003
        path.append(weights.detach().clone())
    return path


@torch.no_grad()
def _loss(group: Group, grades: Ints, rows: Rows, studies: np.ndarray, weights: torch.Tensor) -> float:
    inputs, logs = (part[studies] for part in rows)
    return float(GroupLoss(grades[studies], group)(_corrected(inputs, logs, weights)))


def _corrected(inputs: torch.Tensor, logs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    correction = inputs @ weights
    return logs + torch.cat([torch.zeros_like(correction[..., :1]), correction], dim=-1)
