"""Readers: from true severities to recorded labels, with the probability of every label known.

A reader sees the severity plus Gaussian noise and cuts it at the thresholds; with a small probability the reader
lapses and records a grade at the frequency with which that grade occurs at that level. Both leave the label shares as
they are, so ``P(label | measures)`` is known in closed form.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from data_prep.phantom.disease import CUTS, model
from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, Group

LAPSE = {Group.SPINAL: 0.015, Group.FORAMINAL: 0.03, Group.SUBARTICULAR: 0.04}
"""Probability that a label has nothing to do with the image (wrong level, wrong side, slip of the pen)."""


def _lapse() -> Array:
    return np.array([LAPSE[finding.condition.group] for finding in FINDINGS])


def posterior(severity: Array) -> Array:
    """``P(label | severity)``, shape ``(..., 25)`` to ``(..., 25, 3)``; rows sum to 1."""
    stats = model()
    noise = stats.spread * np.sqrt(1.0 - stats.reliability)
    below = [norm.cdf((cut - severity) / noise) for cut in CUTS]
    read = np.stack([below[0], below[1] - below[0], 1.0 - below[1]], axis=-1)
    lapse = _lapse()[:, None]
    return (1.0 - lapse) * read + lapse * stats.shares


def read(severity: Array, rng: np.random.Generator) -> Array:
    """Labels 0, 1, 2 of one reader for severities of shape ``(25,)``."""
    cumulative = posterior(severity).cumsum(axis=-1)
    return (rng.random(len(FINDINGS))[:, None] > cumulative[:, :2]).sum(axis=-1)
