"""Label statistics of a phantom cohort, without its images, as JSON.

Label shares, how often sides agree, how neighbouring levels correlate, how two readers agree, floor and prior.

    python benchmarks/phantom_statistics.py 2000
"""

import json
import sys

import numpy as np
from sklearn.metrics import cohen_kappa_score

from data_prep.phantom.disease import SHARES
from data_prep.phantom.labels import floor_report, read
from data_prep.phantom.study import Stream, draw_findings, stream
from monai_spine.spine import FINDINGS, MISSING, Condition, Grade, Group, Level, Side

SEED = 0


def statistics(studies):
    """All statistics of the first studies of the seed."""
    findings = [draw_findings(SEED, index) for index in range(studies)]
    labels = np.array([one.labels for one in findings], dtype=np.int64)
    posterior = np.array([one.posterior for one in findings])
    canal = labels[:, columns(Condition.SPINAL_CANAL_STENOSIS)]
    return {
        "studies": studies,
        "largest_difference_of_shares": float(np.abs(shares(labels) - real_shares()).max()),
        "any_severe_canal": float((canal == Grade.SEVERE).any(axis=1).mean()),
        "any_missing": float((labels == MISSING).any(axis=1).mean()),
        "sides_agree": {c.group.value: agreement(labels, c) for c in Condition if c.side is Side.LEFT},
        "neighbouring_levels": {c.value: neighbours(labels, c) for c in Condition},
        "linear_kappa_of_two_readers": kappas([one.disease.severity for one in findings]),
        "score": floor_report(labels, posterior),
    }


def shares(labels):
    """Shares of the three grades per finding, ``(25, 3)``; the rest to 1 is missing."""
    return np.stack([(labels == grade).mean(axis=0) for grade in Grade], axis=-1)


def real_shares():
    return np.array([SHARES[f.condition][list(Level).index(f.level)] for f in FINDINGS])


def columns(condition):
    return [n for n, finding in enumerate(FINDINGS) if finding.condition is condition]


def agreement(labels, left):
    """Share of levels at which both sides have the same label."""
    one, other = labels[:, columns(left)], labels[:, columns(left.flipped)]
    return float((one == other)[(one != MISSING) & (other != MISSING)].mean())


def neighbours(labels, condition):
    """Pearson correlation of the labels of neighbouring levels, from above."""
    table = labels[:, columns(condition)]
    correlations = []
    for upper, lower in zip(table.T[:-1], table.T[1:], strict=True):
        known = (upper != MISSING) & (lower != MISSING)
        correlations.append(round(float(np.corrcoef(upper[known], lower[known])[0, 1]), 3))
    return correlations


def kappas(severities):
    """Linearly weighted kappa between two readers other than that of the cohort."""
    first, second = (
        np.array([read(severity, stream(SEED + 1 + n, i, Stream.READER)) for i, severity in enumerate(severities)])
        for n in range(2)
    )
    members = {group: [n for n, f in enumerate(FINDINGS) if f.condition.group is group] for group in Group}
    return {
        group.value: float(cohen_kappa_score(first[:, n].ravel(), second[:, n].ravel(), weights="linear"))
        for group, n in members.items()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(statistics(int(sys.argv[1])), indent=1) + "\n")
