"""What the other findings of a study say about one finding: features for the stacked ensemble.

A log ratio is ``(log p_moderate - log p_normal, log p_severe - log p_normal)``. All features of a finding are seen from
its own side: "the same side's recess, one level up" is one feature for left and right alike.
"""

from __future__ import annotations

import numpy as np

from monai_spine.scoring.competition import Floats
from monai_spine.spine import FINDINGS, Condition, Grade, Level

OFFSETS = (-1, 0, 1)
"""Levels that are looked at, against the finding's own: above, the same, below."""

_LIMIT = 8.0
"""Log ratios beyond it say no more: 1 against 3,000."""
_CONDITIONS = list(Condition)
_LEVELS = len(Level)
_RATIOS = len(Grade) - 1


def features(probabilities: Floats, pooled: Floats) -> Floats:
    """Features of every finding, ``(studies, 25, F)`` with ``F = 30 + 2 * models + 5``.

    In this order: pooled log ratios of the five conditions at three levels; how each model's log ratios of the finding
    itself differ from the pooled ones; which level it is.

    Parameters
    ----------
    probabilities
        ``(models, studies, 25, 3)``.
    pooled
        ``(studies, 25, 3)``.
    """
    ratios = log_ratios(pooled)
    own = np.moveaxis(log_ratios(probabilities), 0, 2) - ratios[:, :, None]
    levels = np.tile(np.eye(_LEVELS), (len(_CONDITIONS), 1))
    return np.concatenate(
        [
            _surroundings(ratios),
            own.reshape(*own.shape[:2], -1),
            np.broadcast_to(levels, (len(pooled), *levels.shape)),
        ],
        axis=-1,
    )


def log_ratios(probabilities: Floats) -> Floats:
    """Log ratios of moderate and severe against normal/mild, ``(..., 3)`` to ``(..., 2)``, limited."""
    logs = np.log(np.clip(probabilities, 1e-12, 1))
    return np.clip(logs[..., Grade.MODERATE :] - logs[..., :1], -_LIMIT, _LIMIT)


def _surroundings(ratios: Floats) -> Floats:
    """Log ratios ``(studies, 25, 2)`` around each finding, ``(studies, 25, 30)``; 0 beyond the last levels.

    The canal has no side: it gets the mean of what is seen from either.
    """
    study = ratios.reshape(len(ratios), len(_CONDITIONS), _LEVELS, _RATIOS)
    mirrored = study[:, [_CONDITIONS.index(condition.flipped) for condition in Condition]]
    seen = {False: _by_level(study), True: _by_level(mirrored)}
    around = [_seen_by(finding.condition, list(Level).index(finding.level), seen) for finding in FINDINGS]
    return np.stack(around, axis=1)


def _by_level(study: Floats) -> Floats:
    """``(studies, conditions, levels, 2)`` to ``(studies, levels, 30)``."""
    padded = np.pad(study, ((0, 0), (0, 0), (1, 1), (0, 0)))
    shifted = [padded[:, :, 1 + offset : 1 + offset + _LEVELS] for offset in OFFSETS]
    around = np.stack(shifted, axis=2)  # studies, conditions, offsets, levels, 2
    return np.moveaxis(around, 3, 1).reshape(len(study), _LEVELS, -1)


def _seen_by(condition: Condition, level: int, seen: dict[bool, Floats]) -> Floats:
    if condition.side is None:
        return (seen[False][:, level] + seen[True][:, level]) / 2
    is_first = _CONDITIONS.index(condition) < _CONDITIONS.index(condition.flipped)
    return seen[not is_first][:, level]
