"""Disease as continuous measures: correlated normal numbers per study, mapped to the lengths the anatomy is drawn with.

Every finding has a *severity* ``v``: below 1 it is normal or mild, from 1 to 2 moderate, above 2 severe. For finding f,
``v = mean_f + spread_f * z``, where ``z`` is standard normal. Mean and spread are solved so that the recorded labels
have the shares of the RSNA 2024 data set. The 25 ``z`` of a study are correlated between conditions and levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import norm

from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, Condition, Group, Level

SHARES: dict[Condition, tuple[tuple[float, float, float], ...]] = {
    Condition.SPINAL_CANAL_STENOSIS: (
        (0.955, 0.034, 0.011),
        (0.896, 0.076, 0.027),
        (0.821, 0.116, 0.062),
        (0.750, 0.120, 0.129),
        (0.964, 0.026, 0.010),
    ),
    Condition.LEFT_NEURAL_FORAMINAL_NARROWING: (
        (0.966, 0.032, 0.001),
        (0.907, 0.087, 0.006),
        (0.771, 0.208, 0.020),
        (0.610, 0.318, 0.071),
        (0.631, 0.263, 0.104),
    ),
    Condition.RIGHT_NEURAL_FORAMINAL_NARROWING: (
        (0.957, 0.032, 0.007),
        (0.908, 0.085, 0.003),
        (0.766, 0.210, 0.021),
        (0.612, 0.318, 0.066),
        (0.649, 0.251, 0.096),
    ),
    Condition.LEFT_SUBARTICULAR_STENOSIS: (
        (0.856, 0.047, 0.014),
        (0.787, 0.129, 0.042),
        (0.670, 0.230, 0.098),
        (0.449, 0.316, 0.233),
        (0.713, 0.207, 0.074),
    ),
    Condition.RIGHT_SUBARTICULAR_STENOSIS: (
        (0.851, 0.056, 0.012),
        (0.798, 0.123, 0.037),
        (0.669, 0.230, 0.100),
        (0.451, 0.315, 0.233),
        (0.708, 0.201, 0.088),
    ),
}
"""Shares of Normal/Mild, Moderate and Severe per condition and level, cranial to caudal, in the training labels of the
RSNA 2024 Lumbar Spine Degenerative Classification data. The rest to 1 is the share of missing labels."""

CUTS = (1.0, 2.0)
"""Severities at which Moderate and Severe begin."""

RELIABILITY = {Group.SPINAL: 0.93, Group.FORAMINAL: 0.80, Group.SUBARTICULAR: 0.80}
"""Share of the variance of a read severity that comes from the anatomy; the rest is the reader's noise."""

LEVEL_CORRELATION = 0.72
"""Correlation of true severities at neighbouring levels. At a distance of n levels it is the n-th power of this."""

CONDITION_CORRELATION = np.array(
    [
        # canal, left and right foramen, left and right recess
        [1.00, 0.30, 0.30, 0.60, 0.60],
        [0.30, 1.00, 0.72, 0.45, 0.38],
        [0.30, 0.72, 1.00, 0.38, 0.45],
        [0.60, 0.45, 0.38, 1.00, 0.90],
        [0.60, 0.38, 0.45, 0.90, 1.00],
    ]
)
"""Correlation of true severities at one level."""


@dataclass(frozen=True)
class Measure:
    """The measure of a group: its name, its unit, and its ``values`` at the severities ``knots``.

    The values at severity 1 and 2 are the thresholds of the grades.
    """

    name: str
    unit: str
    knots: tuple[float, ...]
    values: tuple[float, ...]

    def of_severity(self, severity: Array) -> Array:
        """The measure that is drawn for a severity: it falls between the knots and is constant beyond them."""
        return np.interp(severity, self.knots, self.values)


MEASURES = {
    Group.SPINAL: Measure("sac_ap", "mm", (-2.0, 0.0, 1.0, 2.0, 3.5, 6.0), (16.5, 14.0, 11.0, 7.5, 4.8, 3.0)),
    Group.FORAMINAL: Measure("foramen_area", "mm2", (-2.0, 0.0, 1.0, 2.0, 3.5), (135.0, 108.0, 74.0, 38.0, 10.0)),
    Group.SUBARTICULAR: Measure("recess_width", "mm", (-2.0, 0.0, 1.0, 2.0, 3.5), (7.0, 5.8, 4.0, 2.2, 0.6)),
}


@dataclass(frozen=True)
class Model:
    """The statistics of the 25 findings, in the order of ``FINDINGS``; every array has shape ``(25,)``."""

    mean: Array
    spread: Array
    """Mean, and as spread the standard deviation, of the severity as read: anatomy and reader together."""
    reliability: Array
    """Share of the variance as read that comes from the anatomy."""
    shares: Array
    """``(25, 3)``: probabilities of the grades among the recorded labels."""


@cache
def model() -> Model:
    """Mean and spread solved from the shares: two shares give two unknowns, so nothing is fitted.

    The cuts lie at the normal quantiles of the cumulative shares.
    """
    table = np.array([SHARES[f.condition][list(Level).index(f.level)] for f in FINDINGS])
    shares = table / table.sum(axis=1, keepdims=True)
    lower, upper = norm.ppf(shares[:, 0]), norm.ppf(shares[:, 0] + shares[:, 1])
    spread = (CUTS[1] - CUTS[0]) / (upper - lower)
    reliability = np.array([RELIABILITY[f.condition.group] for f in FINDINGS])
    return Model(CUTS[0] - lower * spread, spread, reliability, shares)


@cache
def _latent_factor() -> Array:
    """Cholesky factor of the correlation of the 25 normal numbers, conditions by levels."""
    distance = np.abs(np.subtract.outer(np.arange(len(Level)), np.arange(len(Level))))
    return np.linalg.cholesky(np.kron(CONDITION_CORRELATION, LEVEL_CORRELATION**distance))


@dataclass(frozen=True)
class Disease:
    """One study's findings: severities and measures, shape ``(25,)`` in the order of ``FINDINGS``."""

    severity: Array
    measure: Array

    def grades(self) -> Array:
        """True grades 0, 1, 2."""
        return np.digitize(self.severity, CUTS).astype(np.float64)


def draw_disease(rng: np.random.Generator) -> Disease:
    """One study's disease."""
    stats = model()
    z = _latent_factor() @ rng.standard_normal(len(FINDINGS))
    severity = stats.mean + stats.spread * np.sqrt(stats.reliability) * z
    return Disease(severity, measures(severity))


def measures(severity: Array) -> Array:
    """The measures of 25 severities."""
    pairs = zip(FINDINGS, severity, strict=True)
    return np.array([MEASURES[finding.condition.group].of_severity(v) for finding, v in pairs])
