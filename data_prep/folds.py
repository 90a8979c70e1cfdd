"""Folds that keep groups together and spread everything counted evenly; the same for the same seed.

`distribute` is used for studies (`assign`, grouped by patient) and for single images (`data_prep.images.split`, grouped
by patient and near duplicates). Scikit-learn's StratifiedGroupKFold balances one class per sample;
iterative-stratification and scikit-multilearn know several, but no groups. Here every condition's moderate and severe
levels, any severe canal and missing labels are balanced together.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from monai_spine.errors import InvalidOptionError
from monai_spine.spine import MISSING, Condition, Grade, Group, columns_of

Counts = npt.NDArray[np.float64]
Folds = npt.NDArray[np.intp]
Labels = npt.NDArray[np.int64]

_WEIGHTS = {"studies": 4.0, "any_severe_spinal": 4.0}
"""What is balanced first: the size, and the part of the score that a fold may have too few studies for."""
_ROUNDS = 20
"""The most passes over all groups; most cohorts settle within five."""


def assign(patients: Sequence[str], labels: Labels, folds: int, seed: int) -> list[int]:
    """A fold from 0 to ``folds - 1`` for every study; the order of the studies does not matter.

    Parameters
    ----------
    patients
        Patient of each study.
    labels
        ``(studies, 25)`` in the order of ``TARGETS``.

    Raises
    ------
    InvalidOptionError
        If there are fewer than 2 folds, or fewer patients than folds.
    """
    check_number(folds, len(set(patients)))
    _, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    weights = [_WEIGHTS.get(name, 1.0) for name in strata_names()]
    return distribute(patient, strata(labels), weights, [1 / folds] * folds, seed=seed).tolist()


def check_number(folds: int, patients: int) -> None:
    """Make sure that every fold can have a patient; no patients at all need no folds.

    Raises `InvalidOptionError` if there are fewer than 2 folds, or fewer patients than folds.
    """
    if patients and not 2 <= folds <= patients:
        raise InvalidOptionError(
            f"expected a number of folds from 2 to {patients}, the number of patients, but given --folds {folds}"
        )


def strata(labels: Labels) -> Counts:
    """What is balanced, counted per study: see `strata_names`."""
    columns: list[npt.NDArray[np.generic]] = [np.ones(len(labels))]
    for condition in Condition:
        own = labels[:, columns_of(condition)]
        columns += [(own == grade).sum(axis=1) for grade in (Grade.MODERATE, Grade.SEVERE)]
    columns.append(_any_severe(labels))
    columns.append((labels == MISSING).any(axis=1))
    return np.stack(columns, axis=1).astype(np.float64)


def strata_names() -> list[str]:
    """Names of the columns of `strata`."""
    graded = [f"{c.value}_{grade.column}" for c in Condition for grade in (Grade.MODERATE, Grade.SEVERE)]
    return ["studies", *graded, "any_severe_spinal", "any_missing"]


def _any_severe(labels: Labels) -> npt.NDArray[np.bool_]:
    """Which studies have a severe spinal level."""
    any_severe: npt.NDArray[np.bool_] = (labels[:, columns_of(Group.SPINAL)] == Grade.SEVERE).any(axis=1)
    return any_severe


def distribute(
    groups: Folds, counts: Counts, weights: Sequence[float], parts: Sequence[float], *, seed: int, refine: bool = True
) -> Folds:
    """A fold for each sample; samples of one group have the same.

    Groups are dealt out greedily, those with most of what is rare first, after the iterative stratification of Sechidis
    et al. (2011) with groups in place of samples. Then groups are exchanged while that makes the folds more even.

    Parameters
    ----------
    groups
        Of each sample, numbered from 0 without gaps.
    counts
        What each sample has of everything that is to be spread, ``(samples, strata)``; the first is its size.
    weights
        How much each of the strata matters.
    parts
        The share of all that each fold is to have.
    refine
        Exchange groups after all are dealt out, which takes the square of their number.
    """
    per_group = np.zeros((int(groups.max()) + 1, counts.shape[1]))
    np.add.at(per_group, groups, counts)
    share = per_group / np.maximum(per_group.sum(axis=0), 1) * np.sqrt(weights)
    order = np.random.default_rng(seed).permutation(len(share))
    target = np.outer(parts, share.sum(axis=0))
    dealt = _greedy(share, target, order)
    return (_refined(share, dealt, target, order) if refine else dealt)[groups]


def _greedy(share: Counts, target: Counts, order: npt.NDArray[np.int64]) -> Folds:
    """Deal out the groups with most of what is rare first, each to the fold that then strays least from its target."""
    order = order[np.argsort(-share[order].max(axis=1), kind="stable")]
    filled = np.zeros_like(target)
    fold_of = np.zeros(len(share), dtype=np.intp)
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        strayed = ((filled + share[group] - target) ** 2 - (filled - target) ** 2).sum(axis=1)
        empty = ~filled.any(axis=1)
        if left <= empty.sum():
            strayed[~empty] = np.inf  # without this, a holdout of 1 % of three groups would stay empty
        # Rounded, so that sums in another order, as on another machine, do not decide between equal folds.
        fold_of[group] = np.lexsort((filled[:, 0] / target[:, 0], np.round(strayed, 12)))[0]
        filled[fold_of[group]] += share[group]
    return fold_of


def _refined(share: Counts, dealt: Folds, target: Counts, order: npt.NDArray[np.int64]) -> Folds:
    """Exchange groups between folds, or move one, while that makes the folds more even.

    With ``e`` what a fold has beyond its target and ``d`` what it gains by an exchange, the sum of squares over both
    folds changes by ``2 d (e_a - e_b) + 2 d d``. Moving is an exchange for an empty group: each fold has an empty group
    at the end of the list.
    """
    groups, folds = len(share), len(target)
    with_empty = np.concatenate([share, np.zeros((folds, share.shape[1]))])
    fold_of = np.concatenate([dealt, np.arange(folds)])
    beyond = np.stack([share[dealt == fold].sum(axis=0) for fold in range(folds)]) - target
    for _ in range(_ROUNDS):
        before = fold_of.copy()
        for group in order:
            fold = fold_of[group]
            gain = with_empty - share[group]
            change = 2 * (gain * (beyond[fold] - beyond[fold_of])).sum(axis=1) + 2 * (gain**2).sum(axis=1)
            if (fold_of[:groups] == fold).sum() == 1:
                change[groups:] = np.inf  # a fold keeps its last group
            other = int(np.argmin(np.round(change, 12)))
            if change[other] < -1e-9:
                fold_of[group] = fold_of[other]
                if other < groups:  # an empty group stays where it is
                    fold_of[other] = fold
                beyond[fold] += gain[other]
                beyond[fold_of[group]] -= gain[other]
        if np.array_equal(before, fold_of):
            break
    return fold_of[:groups]


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> Folds:
    """A group's number for each of ``count`` samples, equal for those that are connected through pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(list(pairs), dtype=np.intp).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    return numbers.astype(np.intp)


def shares(patients: Sequence[str], labels: Labels, folds: Sequence[int]) -> pd.DataFrame:
    """Label shares per fold, and of all: a row each.

    Columns: numbers of studies and patients; the share of studies with a severe canal; for each condition the shares of
    moderate and severe among its graded findings; the share of findings that nobody graded. NaN where none is graded.
    """
    members_of = {str(fold): np.asarray(folds) == fold for fold in sorted(set(folds))}
    rows = {
        fold: {"studies": int(members.sum()), "patients": len({p for p, m in zip(patients, members, strict=True) if m})}
        | _label_shares(labels[members])
        for fold, members in (members_of | {"all": np.ones(len(labels), dtype=bool)}).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fold")


def _label_shares(labels: Labels) -> dict[str, float]:
    result = {"any_severe_spinal": float(_any_severe(labels).mean())}
    for condition in Condition:
        graded = labels[:, columns_of(condition)]
        total = (graded != MISSING).sum()
        for grade in (Grade.MODERATE, Grade.SEVERE):
            result[f"{condition.value}_{grade.column}"] = float((graded == grade).sum() / total) if total else np.nan
    return {**result, "missing": float((labels == MISSING).mean())}


def text_table(table: pd.DataFrame) -> str:
    """The table of `shares` for a terminal: a column per fold, shares in per cent."""
    rows = []
    for name in table.columns:
        form = "{:.0f}" if name in {"studies", "patients"} else "{:.1%}"
        rows.append([name.replace("_", " "), *(form.format(value) for value in table[name])])
    rows = [["fold", *map(str, table.index)], *rows]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{row[0]:<{width}}" + "".join(f"{cell:>8}" for cell in row[1:]) for row in rows)
