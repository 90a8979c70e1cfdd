"""Confidence intervals by drawing patients anew, with replacement.

Rows of one patient are not independent, so patients are drawn, each with all their studies and rows. A figure that is
made of sums over studies is then a matrix product away: ``counts @ sums``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from monai_spine.scoring.competition import Floats

REPLICATES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its confidence interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, which has no NaN: None instead."""
        return {name: round(figure, 6) if np.isfinite(figure) else None for name, figure in asdict(self).items()}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]" if np.isfinite(self.value) else "–"


def patient_counts(patients: Sequence[str], replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """How often each study counts: ``(1 + replicates, studies)``.

    The first row is the sample itself, once each; the others draw as many patients as there are, with replacement.
    """
    names, owner = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    return np.concatenate([np.ones((1, len(owner))), drawn[:, owner].astype(np.float64)])


def estimate(figures: Floats, lowest: float = 0.0, highest: float = 1.0) -> Estimate:
    """The first figure, and the interval that the others give.

    The middle ``COVERAGE`` of the replicates, shifted so that their mean lies at the figure: drawing anew adds noise of
    its own, which for figures such as the calibration error is a bias. Cut to what is possible.

    Parameters
    ----------
    figures
        ``(1 + replicates,)``, as counted by `patient_counts`. Replicates that are NaN are left out; more than half of
        them, and there is no interval.
    """
    value, replicates = float(figures[0]), figures[1:][np.isfinite(figures[1:])]
    if not np.isfinite(value) or len(replicates) <= len(figures[1:]) / 2:
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(replicates, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]) - replicates.mean() + value
    return Estimate(value, float(np.clip(low, lowest, value)), float(np.clip(high, value, highest)))
