"""Rank averaging: models vote by the order in which they put findings, not by how sure they are.

Each model's log ratio of a finding becomes its rank among the model's own out-of-fold findings of the group, from 0 to
1. The ranks are averaged over the models, and the mean rank becomes a log ratio again by the mean of the same models'
quantile functions. Nothing is learnt from labels. A model that is overconfident then counts no more than the others.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from monai_spine.scoring.competition import Floats
from monai_spine.spine import Grade, Group, columns_of
from monai_spine.tables.stacking import log_ratios

STEPS = 257
"""Quantiles by which a distribution is kept: one for each 256th, and both ends."""

Quantiles = Mapping[Group, Floats]
"""For each group, the quantiles ``(models, 2, STEPS)`` of each model's two log ratios; NaN for a model without rows."""


def fit_quantiles(probabilities: Floats) -> Quantiles:
    """The distributions of ``(models, studies, 25, 3)``, NaN where a model has no row."""
    shares = np.linspace(0, 1, STEPS)
    return {
        group: np.stack([_quantiles(rows, shares) for rows in probabilities[:, :, columns_of(group)]])
        for group in Group
    }


def rank_average(probabilities: Floats, quantiles: Quantiles) -> Floats:
    """Probabilities ``(studies, 25, 3)`` of the mean ranks of ``(models, studies, 25, 3)``.

    A row that no model has is a third for each grade.
    """
    averaged = np.full(probabilities.shape[1:], 1 / len(Grade))
    for group, of_models in quantiles.items():
        own = columns_of(group)
        ratios = log_ratios(probabilities[:, :, own])
        usable = ~np.isnan(ratios[..., 0]) & ~np.isnan(of_models[:, 0, 0])[:, None, None]
        pooled = np.stack([_averaged(ratios[..., n], usable, of_models[:, n]) for n in range(ratios.shape[-1])], -1)
        odds = np.exp(np.concatenate([np.zeros_like(pooled[..., :1]), pooled], axis=-1))
        shares = odds / odds.sum(axis=-1, keepdims=True)
        averaged[:, own] = np.where(np.any(usable, axis=0, keepdims=True)[0][..., None], shares, averaged[:, own])
    return averaged


def _quantiles(rows: Floats, shares: Floats) -> Floats:
    ratios = log_ratios(rows[~np.isnan(rows[..., 0])])
    return np.quantile(ratios, shares, axis=0).T if len(ratios) else np.full((len(Grade) - 1, len(shares)), np.nan)


def _averaged(ratios: Floats, usable: npt.NDArray[np.bool_], quantiles: Floats) -> Floats:
    """Mean log ratios ``(studies, n)`` of one ratio of all models, ``(models, studies, n)``."""
    shares = np.linspace(0, 1, STEPS)
    models = np.maximum(usable.sum(axis=0), 1)
    ranks = np.zeros(ratios.shape[1:])
    for ratio, there, of_model in zip(ratios, usable, quantiles, strict=True):
        values, place = np.unique(of_model, return_inverse=True)
        # Of equal quantiles, the middle one: a model that says the same of many findings has no order for them.
        middle = np.bincount(place, shares) / np.bincount(place)
        ranks += np.where(there, np.interp(np.nan_to_num(ratio), values, middle), 0.0)
    # Back by the models that have this row, so that a model without it changes nothing here.
    back = [
        np.where(there, np.interp(ranks / models, shares, of_model), 0.0)
        for there, of_model in zip(usable, quantiles, strict=True)
    ]
    return np.asarray(np.sum(back, axis=0) / models)
