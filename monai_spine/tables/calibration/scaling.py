"""Temperature and vector scaling of three-class probabilities.

Both are softmax regressions on log probabilities (Guo et al., On calibration of modern neural networks, 2017)::

    q = softmax(scale * log p + bias)

with one ``scale`` for all grades and no bias (temperature scaling: ``scale`` is one over the temperature), or a
``scale`` and a ``bias`` for each grade (vector scaling). The log loss is convex in all of them, so there is one best
answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import Grade

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

    Parameters
    ----------
    probabilities, grades
        ``(rows, 3)`` and ``(rows,)`` of 0, 1, 2, none of them missing.
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
