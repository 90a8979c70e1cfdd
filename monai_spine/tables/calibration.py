"""A calibration: how a model's probabilities become calibrated ones, by temperature or vector scaling.

Both scalings are softmax regressions on log probabilities (Guo et al., On calibration of modern neural networks,
2017)::

    q = softmax(scale * log p + bias)

with one ``scale`` for all grades and no bias (temperature scaling: ``scale`` is one over the temperature), or a
``scale`` and a ``bias`` for each grade (vector scaling). The log loss is convex in all of them, so there is one best
answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.patient_resampling import grouped_folds, out_of_fold
from monai_spine.scoring.prevalence import WEIGHTS, normalised
from monai_spine.spine import MISSING, Grade, Group, columns_of
from monai_spine.tables.stored_model import StoredModel

FLOOR = 1e-6
"""Smaller probabilities count as this one. No model knows a millionth, and the logarithm of 0 would decide all."""

_PULL = 1.0
"""Strength of the ridge that draws parameters to "change nothing", in rows: a squared difference of 1 costs half a nat.

It matters where rows are few, and keeps a grade that does not occur from getting the probability 0.
"""


@dataclass(frozen=True)
class Scaling:
    """Parameters of ``softmax(scale * log p + bias)``, ``(3,)`` each."""

    scale: Floats
    bias: Floats

    def apply(self, probabilities: Floats) -> Floats:
        """Scaled probabilities, of the same shape ``(..., 3)``."""
        return np.asarray(np.exp(log_softmax(self.scale * _logs(probabilities) + self.bias, axis=-1)))


def identity() -> Scaling:
    """The scaling that changes nothing."""
    return Scaling(np.ones(len(Grade)), np.zeros(len(Grade)))


def fit_temperature(probabilities: Floats, grades: Ints) -> Scaling:
    """Temperature scaling with the least log loss plus ridge.

    ``probabilities``, ``grades``: ``(rows, 3)`` and ``(rows,)`` of 0, 1, 2, none of them missing.
    """
    (scale,) = _least(probabilities, grades, np.ones(1))
    return Scaling(np.full(len(Grade), scale), np.zeros(len(Grade)))


def fit_vector(probabilities: Floats, grades: Ints) -> Scaling:
    """Vector scaling with the least log loss plus ridge; arguments as for `fit_temperature`."""
    start = np.concatenate([np.ones(len(Grade)), np.zeros(len(Grade))])
    scale, bias = np.split(_least(probabilities, grades, start), 2)
    return Scaling(scale, bias - bias.mean())  # a constant added to all biases changes no probability


def mean_log_loss(probabilities: Floats, grades: Ints) -> float:
    """Mean of minus the logarithm of the right grade's probability; arguments as for `fit_temperature`."""
    truth = np.take_along_axis(probabilities, grades[:, None], axis=-1)
    return float(-np.log(np.clip(truth, FLOOR, 1)).mean())


def _logs(probabilities: Floats) -> Floats:
    return np.log(np.clip(probabilities, FLOOR, 1))


def _least(probabilities: Floats, grades: Ints, start: Floats) -> Floats:
    """Parameters with the least log loss plus ridge: one scale, or three scales and three biases.

    ``start`` is where the search starts, and where the ridge draws to.
    """
    logs = np.ascontiguousarray(_logs(probabilities).T)  # a row for each grade: sums over grades are then fast
    truth = (grades == np.arange(len(Grade))[:, None]).astype(np.float64)
    vector = len(start) > 1

    def loss(parameters: Floats) -> tuple[float, Floats]:
        scale, bias = parameters[: len(Grade), None], parameters[len(Grade) :, None] if vector else 0.0
        logits = scale * logs + bias
        logits -= logits.max(axis=0)
        shares = np.exp(logits)
        total = shares.sum(axis=0)
        error = shares / total - truth
        by_scale = (error * logs).sum(axis=1)
        gradient = np.concatenate([by_scale, error.sum(axis=1)]) if vector else by_scale.sum(keepdims=True)
        away = parameters - start
        nats = np.log(total).sum() - (logits * truth).sum() + _PULL / 2 * (away**2).sum()
        # Divided by the rows, so that L-BFGS-B's tolerance of the gradient does not depend on their number.
        return float(nats) / len(grades), (gradient + _PULL * away) / len(grades)

    # A scale of 0 or below would make a less probable grade the more probable one.
    bounds = [(0.01, None)] * (len(Grade) if vector else 1) + [(None, None)] * (len(Grade) if vector else 0)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x, dtype=np.float64)


METHODS: dict[str, Callable[[Floats, Ints], Scaling]] = {
    "none": lambda _probabilities, _grades: identity(),
    "temperature": fit_temperature,
    "vector": fit_vector,
}
"""How to fit a scaling, from the fewest parameters to the most. ``none`` removes the tilt and scales nothing."""

_FOLDS = 5


@dataclass(frozen=True)
class Calibration(StoredModel):
    """From probabilities as a model gives them to calibrated ones at natural prevalence.

    First the tilt is divided out: competition-weighted probabilities are proportional to ``natural * (1, 2, 4)``. Then
    the rows of each group of conditions are scaled.

    Examples
    --------
    >>> calibration = Calibration.read("calibration.json")  # doctest: +SKIP
    >>> natural = calibration.apply(weighted)               # (studies, 25, 3) both  # doctest: +SKIP
    """

    noun: ClassVar[str] = "a calibration"
    command: ClassVar[str] = "calibrate"
    schema: ClassVar[str] = "monai_spine/calibration/1"

    tilt: Floats
    """``(3,)``: 1, 2, 4; or 1, 1, 1 for probabilities that are natural already."""
    methods: Mapping[Group, str]
    """For each group, a key of `METHODS`."""
    scalings: Mapping[Group, Scaling]
    """For each group, its scaling."""

    @classmethod
    def fit(
        cls,
        grades: Ints,
        probabilities: Floats,
        patients: Sequence[str],
        *,
        method: str = "best",
        tilted: bool = True,
    ) -> Calibration:
        """Learn from the labels ``(studies, 25)`` and probabilities ``(studies, 25, 3)`` of studies of ``patients``.

        ``method``: a key of `METHODS`, or ``best``. ``best`` chooses, for each group, the method with the least natural
        log loss on patients that it was not fitted to, by cross-validation.
        ``tilted``: whether the probabilities are competition-weighted.
        """
        tilt = WEIGHTS if tilted else np.ones(len(Grade))
        # The tilt is known exactly, so it is divided out rather than learnt.
        natural = normalised(probabilities / tilt)
        fold_of = grouped_folds(grades, patients, min(_FOLDS, len(set(patients)))) if method == "best" else None
        methods, scalings = {}, {}
        for group in Group:
            own = columns_of(group)
            p, y = natural[:, own], grades[:, own]
            if not (y != MISSING).any():
                methods[group] = "none"
            else:
                methods[group] = method if fold_of is None else _best(p, y, fold_of)
            scalings[group] = _fit(methods[group], p, y)
        return cls(tilt, methods, scalings)

    def apply(self, probabilities: Floats) -> Floats:
        """Calibrated probabilities at natural prevalence, ``(..., 25, 3)``, from those that the model gives."""
        natural = normalised(np.asarray(probabilities, dtype=np.float64) / self.tilt)
        for group, scaling in self.scalings.items():
            own = columns_of(group)
            natural[..., own, :] = scaling.apply(natural[..., own, :])
        return normalised(natural)

    def to_json(self) -> str:
        """One JSON object of the schema ``monai_spine/calibration/1``."""
        groups = {
            group.value: {
                "method": self.methods[group],
                "scale": scaling.scale.tolist(),
                "bias": scaling.bias.tolist(),
            }
            for group, scaling in self.scalings.items()
        }
        return json.dumps({"schema": self.schema, "tilt": self.tilt.tolist(), "groups": groups}, indent=2)

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Calibration:
        groups = {group: content["groups"][group.value] for group in Group}
        scalings = {group: Scaling(_triple(own["scale"]), _triple(own["bias"])) for group, own in groups.items()}
        tilt = _triple(content["tilt"])
        if not (tilt > 0).all():
            raise ValueError(f"expected a tilt above 0, but found {tilt.tolist()}")
        for group, scaling in scalings.items():
            # With a scale of 0 or below, a less probable grade would become the more probable one.
            if not (scaling.scale > 0).all():
                raise ValueError(f"expected scales above 0, but found {scaling.scale.tolist()} for {group.value}")
        return cls(tilt, {group: str(own["method"]) for group, own in groups.items()}, scalings)


def _best(probabilities: Floats, grades: Ints, fold_of: np.ndarray) -> str:
    """The method with the least out-of-fold log loss; of equal ones that with the fewest parameters."""
    known = grades != MISSING
    losses = {}
    for method in METHODS:

        def fitted(training: np.ndarray, held_out: np.ndarray, method: str = method) -> Floats:
            return _fit(method, probabilities[training], grades[training]).apply(probabilities[held_out])

        losses[method] = mean_log_loss(out_of_fold(fold_of, fitted, probabilities)[known], grades[known])
    return min(losses, key=lambda method: losses[method])  # of equal losses the first, and METHODS has an order


def _fit(method: str, probabilities: Floats, grades: Ints) -> Scaling:
    """Fit to the labelled rows of ``(studies, n, 3)``. Without labelled rows, change nothing."""
    known = grades != MISSING
    return METHODS[method](probabilities[known], grades[known]) if known.any() else identity()


def _triple(values: object) -> Floats:
    triple = np.asarray(values, dtype=np.float64)
    if triple.shape != (len(Grade),) or not np.isfinite(triple).all():
        raise ValueError(f"expected {len(Grade)} finite numbers, but found {values!r}")
    return triple
