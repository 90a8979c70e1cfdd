"""An ensemble: how several models' probabilities become one prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import FINDINGS, Grade, Group, columns_of
from monai_spine.tables.boosting import Booster, Boosters, apply_boosters, fit_boosters
from monai_spine.tables.pooling import Weights, equal_weights, fit_weights, pool
from monai_spine.tables.stacking import Head, Stack, apply_stack, features, fit_stack, log_ratios
from monai_spine.tables.stored_model import StoredModel

STEPS = 257
"""Quantiles by which a distribution is kept: one for each 256th, and both ends."""

Quantiles = Mapping[Group, Floats]
"""For each group, the quantiles ``(models, 2, STEPS)`` of each model's two log ratios; NaN for a model without rows."""


def fit_quantiles(probabilities: Floats) -> Quantiles:
    """The distributions of ``(models, studies, 25, 3)``, NaN where a model has no row."""
    shares = np.linspace(0, 1, STEPS)
    return {
        group: np.stack([_distribution(rows, shares) for rows in probabilities[:, :, columns_of(group)]])
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


def _distribution(rows: Floats, shares: Floats) -> Floats:
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


Method = Literal["mean", "ranks", "weighted", "stacked", "boosted"]
LEARNT: tuple[Method, ...] = ("weighted", "stacked", "boosted")
"""The methods that learn from labels."""


@dataclass(frozen=True)
class FittedEnsemble(StoredModel):
    """Weights of the models, and for some methods corrections of the weighted mean.

    Models need not have the same rows. A row counts for the models that have it.
    """

    noun: ClassVar[str] = "an ensemble"
    command: ClassVar[str] = "ensemble"
    schema: ClassVar[str] = "monai_spine/ensemble/1"

    method: Method
    names: tuple[str, ...]
    """Of the submissions that it was fitted to, in order."""
    weights: Weights
    stack: Stack = field(default_factory=dict)
    """The corrections; empty unless the method is ``stacked``."""
    boosters: Boosters = field(default_factory=dict)
    """The decision trees; empty unless the method is ``boosted``."""
    quantiles: Quantiles = field(default_factory=dict)
    """The models' distributions; empty unless the method is ``ranks``."""

    @classmethod
    def fit(  # noqa: PLR0917 - all of them are needed
        cls,
        method: Method,
        names: Sequence[str],
        grades: Ints,
        probabilities: Floats,
        patients: Sequence[str],
        seed: int,
    ) -> FittedEnsemble:
        """Learn from labels ``(studies, 25)`` and out-of-fold probabilities ``(models, studies, 25, 3)``.

        A model's row that is NaN is one that it does not have; a label of a row that no model has must be `MISSING`.
        Everything is fitted to the competition's loss, including the any-severe part. The same input gives the same
        ensemble. ``mean`` learns nothing, and ``ranks`` nothing from labels.
        """
        equal = equal_weights(len(names))
        if method == "mean":
            return cls(method, tuple(names), equal)
        if method == "ranks":
            return cls(method, tuple(names), equal, quantiles=fit_quantiles(probabilities))
        with threadpool_limits(1):  # for many small steps, more threads only wait for each other
            weights = fit_weights(grades, probabilities)
            rows = (grades, probabilities, pool(probabilities, weights), patients, seed)
            if method == "stacked":
                return cls(method, tuple(names), weights, stack=fit_stack(*rows))
            if method == "boosted":
                return cls(method, tuple(names), weights, boosters=fit_boosters(*rows))
        return cls(method, tuple(names), weights)

    def apply(self, probabilities: Floats) -> Floats:
        """The prediction, ``(studies, 25, 3)``, from ``(models, studies, 25, 3)`` in the order of ``names``.

        NaN where a model has no row. A row that no model has is a third for each grade.
        """
        if self.quantiles:
            return rank_average(probabilities, self.quantiles)
        pooled = pool(probabilities, self.weights)
        if self.stack:
            return apply_stack(self.stack, probabilities, pooled)
        return apply_boosters(self.boosters, probabilities, pooled) if self.boosters else pooled

    def to_json(self) -> str:
        """One JSON object of the schema ``monai_spine/ensemble/1``."""
        content: dict[str, Any] = {
            "schema": self.schema,
            "method": self.method,
            "submissions": list(self.names),
            "weights": {group.value: weights.tolist() for group, weights in self.weights.items()},
            "stack": {
                group.value: {"ridge": head.ridge, "weights": head.weights.tolist()}
                for group, head in self.stack.items()
            },
            "boosters": {group.value: booster.content() for group, booster in self.boosters.items()},
            # JSON has no NaN: a model without rows of a group has no quantiles there.
            "quantiles": {
                group.value: [None if np.isnan(rows).any() else rows.tolist() for rows in of_models]
                for group, of_models in self.quantiles.items()
            },
        }
        return json.dumps(content, indent=None if self.boosters else 1)

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> FittedEnsemble:
        method, names = content["method"], tuple(map(str, content["submissions"]))
        if method not in get_args(Method):
            raise ValueError(f"its method is {method!r}")
        weights = {group: _numbers(content["weights"][group.value], (len(names),)) for group in Group}
        for group, own in weights.items():
            if not names or (own < 0).any() or not own.sum() > 0:
                raise ValueError(
                    f"expected weights of 0 or more, not all 0, but found {own.tolist()} for {group.value}"
                )
        blank = np.full((1, len(FINDINGS), len(Grade)), 1 / len(Grade))
        # How many features there are depends on the number of models; `features` itself knows.
        size = features(np.stack([blank] * len(names)), blank).shape[-1]
        return cls(
            method,
            names,
            weights,
            stack=_stack(content["stack"], size) if method == "stacked" else {},
            boosters=_boosters(content["boosters"], size) if method == "boosted" else {},
            quantiles=_quantiles(content["quantiles"], len(names)) if method == "ranks" else {},
        )


def _stack(content: Any, size: int) -> Stack:
    """The heads of a JSON object, for so many features."""
    shape = (size, len(Grade) - 1)
    heads = {Group(name): head for name, head in content.items()}
    return {group: Head(float(head["ridge"]), _numbers(head["weights"], shape)) for group, head in heads.items()}


def _boosters(content: Any, size: int) -> Boosters:
    return {Group(name): Booster.from_content(booster, size) for name, booster in content.items()}


def _quantiles(content: Any, models: int) -> Quantiles:
    shape = (len(Grade) - 1, STEPS)
    nothing = np.full(shape, np.nan)
    quantiles = {
        group: np.stack([nothing if rows is None else _numbers(rows, shape) for rows in content[group.value]])
        for group in Group
    }
    if any(len(of_models) != models for of_models in quantiles.values()):
        raise ValueError(f"expected quantiles of {models} models")
    return quantiles


def _numbers(values: Any, shape: tuple[int, ...]) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"expected finite numbers of shape {shape}, but found {numbers.shape}")
    return numbers
