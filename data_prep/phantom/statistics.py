"""Label statistics of a cohort, without its images.

``python -m data_prep.phantom.statistics 2000`` prints them as JSON: label shares, how often sides agree, how
neighbouring levels correlate, how two readers agree, and floor and prior of the score.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import numpy.typing as npt

from data_prep.phantom import floor, readers
from data_prep.phantom.disease import SHARES
from data_prep.phantom.study import Findings, Stream, draw_findings, stream
from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, MISSING, Condition, Grade, Group, Level, Side

Labels = npt.NDArray[np.int64]


def statistics(studies: int, seed: int = 0) -> dict[str, object]:
    """All statistics of the first ``studies`` of a seed."""
    findings = [draw_findings(seed, index) for index in range(studies)]
    labels = np.array([found.labels for found in findings], dtype=np.int64)
    posterior = np.array([found.posterior for found in findings])
    canal = labels[:, _columns(Condition.SPINAL_CANAL_STENOSIS)]
    return {
        "studies": studies,
        "largest_difference_of_shares": float(np.abs(shares(labels) - _real_shares()).max()),
        "any_severe_canal": float((canal == Grade.SEVERE).any(axis=1).mean()),
        "any_missing": float((labels == MISSING).any(axis=1).mean()),
        "sides_agree": {c.group.value: _agreement(labels, c) for c in Condition if c.side is Side.LEFT},
        "neighbouring_levels": {c.value: _neighbours(labels, c) for c in Condition},
        "linear_kappa_of_two_readers": _kappas(findings, seed),
        "score": floor.report(labels, posterior),
    }


def shares(labels: Labels) -> Array:
    """Shares of the three grades per finding, ``(25, 3)``; missing labels make up the rest."""
    return np.stack([(labels == grade).mean(axis=0) for grade in Grade], axis=-1)


def _real_shares() -> Array:
    return np.array([SHARES[f.condition][list(Level).index(f.level)] for f in FINDINGS])


def _columns(condition: Condition) -> list[int]:
    return [n for n, finding in enumerate(FINDINGS) if finding.condition is condition]


def _agreement(labels: Labels, left: Condition) -> float:
    """Share of levels at which both sides have the same label."""
    one, other = labels[:, _columns(left)], labels[:, _columns(left.flipped)]
    return float((one == other)[(one != MISSING) & (other != MISSING)].mean())


def _neighbours(labels: Labels, condition: Condition) -> list[float]:
    """Pearson correlation of the labels of neighbouring levels, from above."""
    table = labels[:, _columns(condition)]
    found = []
    for upper, lower in zip(table.T[:-1], table.T[1:], strict=True):
        there = (upper != MISSING) & (lower != MISSING)
        found.append(round(float(np.corrcoef(upper[there], lower[there])[0, 1]), 3))
    return found


def _kappas(findings: list[Findings], seed: int) -> dict[str, float]:
    """Linearly weighted kappa between the reader and a second one."""
    from sklearn.metrics import cohen_kappa_score

    first, second = (
        np.array(
            [readers.read(f.disease.severity, stream(seed + 1 + n, i, Stream.READER)) for i, f in enumerate(findings)]
        )
        for n in range(2)
    )
    members = {group: [n for n, f in enumerate(FINDINGS) if f.condition.group is group] for group in Group}
    return {
        group.value: float(cohen_kappa_score(first[:, n].ravel(), second[:, n].ravel(), weights="linear"))
        for group, n in members.items()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(statistics(int(sys.argv[1])), indent=1) + "\n")
