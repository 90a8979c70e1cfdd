"""Weighted means of several models' probabilities, and the loss of one group to which ensembles are fitted.

The competition's loss is a sum over groups of conditions, and no parameter of an ensemble serves two groups. So the
parameters of each group are fitted separately.

Probabilities are averaged, not their logarithms. On simulated models (``benchmarks/simulated_models.py``), the mean of
logarithms has a better score by .002 to .012 where every model is well calibrated or underconfident. It has a worse
score by .015 to .08 where the models are overconfident, as networks are after a long training: one model with a
probability near 0 then decides alone.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.spine import MISSING, Grade, Group, columns_of
from monai_spine.training.losses import any_severe, cross_entropies, mean_of_parts, soft_labels

TINY = 1e-12
"""Smaller probabilities count as this one, so that logarithms are finite in float32."""


def minimise(parameters: torch.Tensor, loss: Callable[[], torch.Tensor], tolerance: float) -> None:
    """Change ``parameters`` in place until a step changes the loss or the parameters by less than the tolerance.

    L-BFGS on all rows at once, without anything random: the same input gives the same parameters.
    """
    optimiser = torch.optim.LBFGS(
        [parameters],
        max_iter=50,
        history_size=20,
        tolerance_grad=1e-5,
        tolerance_change=tolerance,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    # One step of L-BFGS holds all iterations.
    optimiser.step(closure)


class GroupLoss:
    """The competition's loss of one group's findings; for the canal, the any-severe part is included.

    ``grades``: ``(studies, 25)``; grades of other groups are not used.
    """

    def __init__(self, grades: Ints, group: Group) -> None:
        self.columns = torch.tensor(columns_of(group))
        self.terms = [cross_entropies, any_severe] if group is Group.SPINAL else [cross_entropies]
        self.labels = soft_labels(torch.from_numpy(np.ascontiguousarray(grades))[:, self.columns])
        self.weights = torch.tensor(WEIGHTS, dtype=torch.float32)

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Loss of the group's logits ``(studies, n, 3)``, where ``n`` is the number of the group's findings."""
        parts = [term(logits.float(), self.labels, self.weights) for term in self.terms]
        losses, totals = (torch.stack(part) for part in zip(*parts, strict=True))
        return mean_of_parts(losses, totals, torch.ones(len(parts)))


Weights = Mapping[Group, Floats]
"""For each group, a weight for each model, ``(models,)``: not negative, of sum 1. 0 for a model that has no row of the
group."""

_RIDGE = 1e-3
"""Strength of the ridge that draws weights to be equal. It decides between models with equal predictions."""


def equal_weights(models: int) -> Weights:
    """The plain mean."""
    return {group: np.full(models, 1 / models) for group in Group}


def pool(probabilities: Floats, weights: Weights) -> Floats:
    """Weighted mean of ``(models, studies, 25, 3)``: ``(studies, 25, 3)``, rows of sum 1.

    A row of a model that is NaN is left out, and the other models' weights are divided by their sum. A row that no
    model has is a third for each grade.
    """
    pooled = np.empty(probabilities.shape[1:])
    for group, of_model in weights.items():
        own = columns_of(group)
        covered, rows = covered_rows(probabilities[:, :, own])
        shares = of_model[:, None, None] * covered
        # A model without weight in the group still counts where no other model has the row.
        shares = np.where(shares.sum(axis=0) > 0, shares, covered)
        pooled[:, own] = (shares[..., None] * rows).sum(axis=0)
    totals = pooled.sum(axis=-1, keepdims=True)
    return np.where(totals > 0, pooled / np.where(totals > 0, totals, 1.0), 1 / len(Grade))


def covered_rows(probabilities: Floats) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Which rows ``(..., 3)`` a model has, ``(...)``, and the rows with 0 in place of NaN."""
    return ~np.isnan(probabilities[..., 0]), np.nan_to_num(probabilities)


def fit_weights(grades: Ints, probabilities: Floats) -> Weights:
    """The weights with the least competition loss, separate ones for each group of conditions.

    ``grades``: ``(studies, 25)``, `MISSING` in rows that no model has.
    ``probabilities``: ``(models, studies, 25, 3)``, NaN where a model has no row. A model without any labelled row of a
    group gets the weight 0 there, so it does not change the weights of the others.
    """
    return {group: _fit(group, grades, probabilities[:, :, columns_of(group)]) for group in Group}


def _fit(group: Group, grades: Ints, probabilities: Floats) -> Floats:
    covered, values = covered_rows(probabilities)
    labelled = grades[:, columns_of(group)] != MISSING
    present = (covered & labelled).any(axis=(1, 2))
    weights = np.zeros(len(probabilities))
    if present.sum() < 2:
        weights[present] = 1.0
        return weights if present.any() else equal_weights(len(weights))[group]
    loss, there = GroupLoss(grades, group), torch.from_numpy(covered[present]).float()
    rows = torch.from_numpy(values[present]).float()
    free = torch.zeros(len(rows), requires_grad=True)  # a softmax keeps the weights positive and of sum 1

    def value() -> torch.Tensor:
        shares = free.softmax(0)[:, None, None] * there
        pooled = (shares[..., None] * rows).sum(dim=0) / shares.sum(dim=0).clamp_min(TINY)[..., None]
        return loss(pooled.clamp_min(TINY).log()) + _RIDGE * free.square().mean()

    minimise(free, value, tolerance=1e-7)
    weights[present] = free.detach().double().softmax(0).numpy()
    return weights
