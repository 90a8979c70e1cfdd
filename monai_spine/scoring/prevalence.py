"""Rows of probabilities, and what the competition's weights do to them.

A model that is trained for the weights 1, 2 and 4 says "severe" more often than it is. Pages for people show
probabilities at the natural prevalence of the grades instead.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monai_spine.spine import Grade

WEIGHTS: npt.NDArray[np.float64] = np.array([grade.weight for grade in Grade], dtype=np.float64)
"""Sample weight of each grade: 1, 2, 4."""

# float64's epsilon, as the competition clips. float32's changes the worst possible loss of a row from 36.0 to 15.9.
_EPSILON = np.finfo(np.float64).eps


def normalised(probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Rows that sum to 1, clipped to ``[eps, 1 - eps]`` of float64.

    Raises `ValueError` if a value is negative or not finite, or a row sums to 0.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    if not np.isfinite(rows).all() or (rows < 0).any():
        raise ValueError("expected probabilities that are finite and not negative")
    total = rows.sum(axis=-1, keepdims=True)
    if (total == 0).any():
        raise ValueError("expected rows of probabilities with a sum above 0")
    return np.clip(rows / total, _EPSILON, 1 - _EPSILON)


def natural_prevalence(weighted: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities at the grades' natural prevalence, from probabilities trained or meant for the weights 1, 2, 4.

    A weighted log loss is least at ``p_g`` proportional to ``natural_g * weight_g``, so a division by the weights
    gives the natural probabilities back.
    """
    return normalised(np.asarray(weighted) / WEIGHTS)
