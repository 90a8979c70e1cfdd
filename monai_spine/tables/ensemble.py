"""An ensemble: how several models' probabilities become one prediction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import FINDINGS, Grade, Group
from monai_spine.tables.pooling import Weights, equal_weights, fit_weights, pool
from monai_spine.tables.stacking import Head, Stack, apply_stack, features, fit_stack
from monai_spine.tables.stored_model import StoredModel

Method = Literal["mean", "weighted", "stacked"]


@dataclass(frozen=True)
class Ensemble(StoredModel):
    """Weights of the models, and for a stacked ensemble corrections of the weighted mean."""

    noun: ClassVar[str] = "an ensemble"
    command: ClassVar[str] = "ensemble"
    schema: ClassVar[str] = "monai_spine/ensemble/1"

    method: Method
    names: tuple[str, ...]
    """Of the submissions that it was fitted to, in order."""
    weights: Weights
    stack: Stack
    """The corrections; empty unless the method is ``stacked``."""

    @classmethod
    def fit(  # noqa: PLR0917 - all of them are needed
        cls,
        method: Method,
        names: Sequence[str],
        grades: Ints,
        probabilities: Floats,
        patients: Sequence[str],
        seed: int,
    ) -> Ensemble:
        """Learn from labels ``(studies, 25)`` and out-of-fold probabilities ``(models, studies, 25, 3)``.

        Everything is fitted to the competition's loss, including the any-severe part. The same input gives the same
        ensemble. ``mean`` learns nothing.
        """
        if method == "mean":
            return cls(method, tuple(names), equal_weights(len(names)), {})
        with threadpool_limits(1):  # for many small steps, more threads only wait for each other
            weights = fit_weights(grades, probabilities)
            if method == "weighted":
                return cls(method, tuple(names), weights, {})
            stack = fit_stack(grades, probabilities, pool(probabilities, weights), patients, seed)
        return cls(method, tuple(names), weights, stack)

    def apply(self, probabilities: Floats) -> Floats:
        """The prediction, ``(studies, 25, 3)``, from ``(models, studies, 25, 3)`` in the order of ``names``."""
        pooled = pool(probabilities, self.weights)
        return apply_stack(self.stack, probabilities, pooled) if self.stack else pooled

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
        }
        return json.dumps(content, indent=1)

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Ensemble:
        method, names = content["method"], tuple(map(str, content["submissions"]))
        if method not in get_args(Method):
            raise ValueError(f"its method is {method!r}")
        weights = {group: _numbers(content["weights"][group.value], (len(names),)) for group in Group}
        for group, own in weights.items():
            if not names or (own < 0).any() or not own.sum() > 0:
                raise ValueError(
                    f"expected weights of 0 or more, not all 0, but found {own.tolist()} for {group.value}"
                )
        stack = _stack(content["stack"], len(names)) if method == "stacked" else {}
        return cls(method, names, weights, stack)


def _stack(content: Any, models: int) -> Stack:
    """The heads of a JSON object, whose weights must have the shape that so many models need."""
    # How many features there are depends on the number of models; `features` itself knows.
    blank = np.full((1, len(FINDINGS), len(Grade)), 1 / len(Grade))
    shape = (features(np.stack([blank] * models), blank).shape[-1], len(Grade) - 1)
    return {
        group: Head(float(content[group.value]["ridge"]), _numbers(content[group.value]["weights"], shape))
        for group in Group
    }


def _numbers(values: Any, shape: tuple[int, ...]) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"expected finite numbers of shape {shape}, but found {numbers.shape}")
    return numbers
