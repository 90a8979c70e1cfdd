"""Disease as continuous measures: correlated normal numbers per study, mapped to the lengths the anatomy is drawn with.

Every finding has a *severity* ``v``: below 1 it is normal or mild, from 1 to 2 moderate, above 2 severe. For finding f,
``v = mean_f + spread_f * z``, where ``z`` is standard normal. Mean and spread are solved so that the recorded labels
have the shares of the RSNA 2024 data set. The 25 ``z`` of a study are correlated between conditions and levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtri  # scipy.stats takes half a second more to import

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
    """The measure of a group: its name, its unit, and how it falls with the severity.

    ``free`` are the values of an average person at the five levels if nothing narrows them. ``shares`` of these are
    left at the severities ``knots``; the shares at severity 1 and 2 are the thresholds of the grades.
    """

    name: str
    unit: str
    free: tuple[float, ...]
    knots: tuple[float, ...]
    shares: tuple[float, ...]

    def of_severity(self, severity: Array, level: Level) -> Array:
        """The measure of an average person: it falls between the knots and is constant beyond them."""
        return self.free[list(Level).index(level)] * np.interp(severity, self.knots, self.shares)


MEASURES = {
    # Area and width follow the depth (see `canal_shape`): .80 and .535 of the depth leave two thirds and one third of
    # the area, the bounds of Lurie et al. 2008.
    Group.SPINAL: Measure(
        "sac_ap", "mm", (12.9, 12.1, 11.2, 11.5, 12.2), (-2, 0, 1, 2, 3.5, 6), (1.07, 0.95, 0.80, 0.535, 0.36, 0.22)
    ),
    # Lee et al. 2010: fat lost on two sides is mild, on all sides around an unchanged root moderate. Fat ends where
    # about a third of the open cross-section is left, which is the root. A collapsed root is severe.
    Group.FORAMINAL: Measure(
        "foramen_area", "mm2", (118.0, 116.0, 108.0, 98.0, 96.0), (-2, 0, 1, 2, 3.5), (1.08, 0.92, 0.64, 0.36, 0.12)
    ),
    # Bartynski and Lin 2003, with the limits of Strojnik 2013: free above 5 mm; the root, 3.5 to 4 mm thick, is touched
    # at 4 mm and flattened to half at 2 mm.
    Group.SUBARTICULAR: Measure(
        "recess_width", "mm", (6.4, 6.2, 6.0, 5.8, 5.8), (-2, 0, 1, 2, 3.5), (1.2, 0.96, 0.66, 0.36, 0.10)
    ),
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
    lower, upper = ndtri(shares[:, 0]), ndtri(shares[:, 0] + shares[:, 1])
    spread = (CUTS[1] - CUTS[0]) / (upper - lower)
    reliability = np.array([RELIABILITY[f.condition.group] for f in FINDINGS])
    return Model(CUTS[0] - lower * spread, spread, reliability, shares)


@cache
def _latent_factor(*, correlated: bool) -> Array:
    """Cholesky factor of the correlation of the 25 normal numbers, conditions by levels."""
    distance = np.abs(np.subtract.outer(np.arange(len(Level)), np.arange(len(Level))))
    conditions = CONDITION_CORRELATION if correlated else np.eye(len(Condition))
    return np.linalg.cholesky(np.kron(conditions, LEVEL_CORRELATION**distance))


@dataclass(frozen=True)
class Disease:
    """The ``severity`` of a study's findings, shape ``(25,)`` in the order of ``FINDINGS``."""

    severity: Array

    def grades(self) -> Array:
        """True grades 0, 1, 2."""
        return np.digitize(self.severity, CUTS).astype(np.float64)

    def measures(self) -> Array:
        """The measures of an average person with this disease, ``(25,)``: mm, or mm² for the foramina."""
        pairs = zip(FINDINGS, self.severity, strict=True)
        return np.array([MEASURES[finding.condition.group].of_severity(v, finding.level) for finding, v in pairs])


def draw_disease(rng: np.random.Generator, uncorrelated: float = 0.0) -> Disease:
    """One study's disease.

    ``uncorrelated`` is the probability that its conditions have nothing to do with each other. A network that sees such
    studies cannot tell the grade of one condition from the images of another.
    """
    stats = model()
    normal = rng.standard_normal(len(FINDINGS))
    # Without a share nothing more is drawn, so that all other numbers of a stream stay the same.
    z = _latent_factor(correlated=not uncorrelated or rng.random() >= uncorrelated) @ normal
    return Disease(stats.mean + stats.spread * np.sqrt(stats.reliability) * z)
