"""An ensemble: how to make one answer of several models', and how to keep it in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.files import write_text
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import FINDINGS, Grade, Group
from monai_spine.tables.ensemble.context import features
from monai_spine.tables.ensemble.pooling import Weights, equal_weights, fit_weights, pool
from monai_spine.tables.ensemble.stacking import Head, Stack, apply_stack, fit_stack

SCHEMA = "monai_spine/ensemble/1"

Method = Literal["mean", "weighted", "stacked"]


@dataclass(frozen=True)
class Ensemble:
    """Weights for the models, and corrections on top of the weighted mean if it is stacked.

    Attributes
    ----------
    names
        Of the submissions it was made for, in order.
    stack
        Empty unless the method is ``stacked``.
    """

    method: Method
    names: tuple[str, ...]
    weights: Weights
    stack: Stack

    @classmethod
    def fit(  # noqa: PLR0917 - what and how
        cls,
        method: Method,
        names: Sequence[str],
        grades: Ints,
        probabilities: Floats,
        patients: Sequence[str],
        seed: int = 0,
    ) -> Ensemble:
        """Learn from labels ``(studies, 25)`` and out-of-fold probabilities ``(models, studies, 25, 3)``.

        Everything is fitted to the competition's loss, the any-severe term included; the same input gives the same
        ensemble. ``mean`` learns nothing.
        """
        if method == "mean":
            return cls(method, tuple(names), equal_weights(len(names)), {})
        with threadpool_limits(1):  # small sums in many steps: more threads only wait for each other
            weights = fit_weights(grades, probabilities)
            if method == "weighted":
                return cls(method, tuple(names), weights, {})
            stack = fit_stack(grades, probabilities, pool(probabilities, weights), patients, seed)
        return cls(method, tuple(names), weights, stack)

    def apply(self, probabilities: Floats) -> Floats:
        """One answer, ``(studies, 25, 3)``, from the models' ``(models, studies, 25, 3)`` in the order of ``names``."""
        pooled = pool(probabilities, self.weights)
        return apply_stack(self.stack, probabilities, pooled) if self.stack else pooled

    def to_json(self) -> str:
        """One JSON object of the schema ``monai_spine/ensemble/1``."""
        content: dict[str, Any] = {
            "schema": SCHEMA,
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
    def from_json(cls, text: str) -> Ensemble:
        """The ensemble that `to_json` wrote.

        Raises
        ------
        InvalidTableError
            If it is none.
        """
        try:
            content = json.loads(text)
            if content["schema"] != SCHEMA:
                raise ValueError(f"its schema is {content['schema']!r}")
            method, names = content["method"], tuple(map(str, content["submissions"]))
            if method not in get_args(Method):
                raise ValueError(f"its method is {method!r}")
            weights = {group: _numbers(content["weights"][group.value], (len(names),)) for group in Group}
            stack = _stack(content["stack"], len(names)) if method == "stacked" else {}
        except (ValueError, KeyError, TypeError) as err:
            raise InvalidTableError(f"expected an ensemble of the schema {SCHEMA!r} ({err})") from err
        return cls(method, names, weights, stack)

    def write(self, path: Path) -> None:
        """Write `to_json` to a file, renamed into place when whole."""
        write_text(path, self.to_json() + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Ensemble:
        """The ensemble of a file.

        Raises
        ------
        MissingInputError, InvalidTableError
            If there is no such file, or it holds no ensemble.
        """
        if not Path(path).is_file():
            raise MissingInputError(
                f"expected an ensemble, but there is no file {path}; `monai-spine ensemble` writes one"
            )
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (InvalidTableError, UnicodeDecodeError) as err:
            raise InvalidTableError(f"{path}: {err}") from err


def _stack(content: Any, models: int) -> Stack:
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
