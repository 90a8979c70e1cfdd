"""Patients, or other things that stay together, dealt out to folds so that everything counted is spread evenly.

Greedily, what is rare first, after the iterative stratification of Sechidis et al. (2011) with groups in place of
samples, and then by exchanging groups while that makes the folds more even.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
Folds = npt.NDArray[np.intp]

_ROUNDS = 20


def distribute(
    counts: Counts, weights: Sequence[float], parts: Sequence[float], seed: int, refine: bool = True
) -> Folds:
    """A fold for each group.

    Parameters
    ----------
    counts
        What each group has of everything that is to be spread, ``(groups, strata)``; the first is its size.
    weights
        How much each of these matters.
    parts
        The share of all that each fold is to have.
    refine
        Exchange groups after all are dealt out, which takes the square of their number.
    """
    share = counts / np.maximum(counts.sum(axis=0), 1) * np.sqrt(weights)
    order = np.random.default_rng(seed).permutation(len(counts))
    wanted = np.outer(parts, share.sum(axis=0))
    dealt = _greedy(share, wanted, order)
    return _refined(share, dealt, wanted, order) if refine else dealt


def _greedy(share: Counts, wanted: Counts, order: npt.NDArray[np.int64]) -> Folds:
    """Give the groups with most of what is rare first, each to the fold that then strays least from its share."""
    order = order[np.argsort(-share[order].max(axis=1), kind="stable")]
    filled = np.zeros_like(wanted)
    result = np.zeros(len(share), dtype=np.intp)
    for group in order:
        strayed = ((filled + share[group] - wanted) ** 2 - (filled - wanted) ** 2).sum(axis=1)
        result[group] = np.lexsort((filled[:, 0] / wanted[:, 0], np.round(strayed, 12)))[0]
        filled[result[group]] += share[group]
    return result


def _refined(share: Counts, chosen: Folds, wanted: Counts, order: npt.NDArray[np.int64]) -> Folds:
    """Exchange groups between folds, or move one, while that makes the folds more even.

    With ``e`` what a fold has beyond its share and ``d`` what it gains by an exchange, the sum of squares over both
    folds changes by ``2 d (e_a - e_b) + 2 d d``. Moving is an exchange for nobody: each fold has a nobody at the end of
    the list.
    """
    folds = len(wanted)
    with_nobody = np.concatenate([share, np.zeros((folds, share.shape[1]))])
    where = np.concatenate([chosen, np.arange(folds)])
    beyond = np.stack([share[chosen == fold].sum(axis=0) for fold in range(folds)]) - wanted
    for _ in range(_ROUNDS):
        before = where.copy()
        for group in order:
            fold = where[group]
            gain = with_nobody - share[group]
            change = 2 * (gain * (beyond[fold] - beyond[where])).sum(axis=1) + 2 * (gain**2).sum(axis=1)
            if (where[: len(share)] == fold).sum() == 1:
                change[len(share) :] = np.inf  # a fold keeps its last group
            other = int(np.argmin(np.round(change, 12)))
            if change[other] < -1e-9:
                _exchange(where, group, other, len(share))
                beyond[fold] += gain[other]
                beyond[where[group]] -= gain[other]
        if np.array_equal(before, where):
            break
    return where[: len(share)]


def _exchange(where: Folds, group: int, other: int, groups: int) -> None:
    fold = where[group]
    where[group] = where[other]
    if other < groups:  # nobody stays where it is
        where[other] = fold
