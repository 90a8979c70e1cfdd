"""Weighted means of several models' probabilities.

Probabilities are averaged, not their logarithms. On simulated models (``benchmarks/simulated_models.py``), the mean of
logarithms has a better score by .002 to .012 where every model is well calibrated or underconfident. It has a worse
score by .015 to .08 where the models are overconfident, as networks are after a long training: one model with a
probability near 0 then decides alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from monai_spine.scoring.competition import Floats, Ints, columns_of
from monai_spine.spine import Group
from monai_spine.tables.ensemble.group_loss import TINY, GroupLoss, minimise

Weights = Mapping[Group, Floats]
"""For each group, a weight for each model, ``(models,)``: not negative, of sum 1."""

_RIDGE = 1e-3
"""Strength of the ridge that draws weights to be equal. It decides between models with equal predictions."""


def equal_weights(models: int) -> Weights:
    """The plain mean."""
    return {group: np.full(models, 1 / models) for group in Group}


def pool(probabilities: Floats, weights: Weights) -> Floats:
    """Weighted mean of ``(models, studies, 25, 3)``: ``(studies, 25, 3)``, rows of sum 1."""
    pooled = np.empty(probabilities.shape[1:])
    for group, of_model in weights.items():
        own = columns_of(group)
        pooled[:, own] = np.tensordot(of_model, probabilities[:, :, own], axes=1)
    return pooled / pooled.sum(axis=-1, keepdims=True)


def fit_weights(grades: Ints, probabilities: Floats) -> Weights:
    """The weights with the least competition loss, separate ones for each group of conditions.

    Parameters
    ----------
    grades
        ``(studies, 25)``.
    probabilities
        ``(models, studies, 25, 3)``.
    """
    return {group: _fit(GroupLoss(grades, group), probabilities[:, :, columns_of(group)]) for group in Group}


def _fit(loss: GroupLoss, probabilities: Floats) -> Floats:
    rows = torch.from_numpy(probabilities).float()
    free = torch.zeros(len(rows), requires_grad=True)  # a softmax keeps the weights positive and of sum 1

    def value() -> torch.Tensor:
        pooled = torch.tensordot(free.softmax(0), rows, dims=1)
        return loss(pooled.clamp_min(TINY).log()) + _RIDGE * free.square().mean()

    minimise(free, value, tolerance=1e-7)
    return free.detach().double().softmax(0).numpy()
