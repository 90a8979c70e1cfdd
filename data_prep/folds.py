"""Folds for cross-validation: grouped by patient, stratified on several things at once, the same for the same seed.

Scikit-learn's StratifiedGroupKFold balances one class per study; iterative-stratification and scikit-multilearn know
several, but no groups. Here every condition's moderate and severe levels, any severe canal and missing labels are
balanced together: greedily, the rarest first, after the iterative stratification of Sechidis et al. (2011) with
patients in place of samples, and then by exchanging patients while that makes the folds more even.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from monai_spine.errors import InvalidOptionError
from monai_spine.spine import FINDINGS, MISSING, Condition, Grade, Group

Labels = npt.NDArray[np.int64]
Counts = npt.NDArray[np.float64]
Folds = npt.NDArray[np.intp]

_WEIGHTS = {"studies": 4.0, "any_severe_spinal": 4.0}
"""What is balanced first: the size, and the part of the score that a fold may have too few studies for."""
_ROUNDS = 20


def assign(patients: Sequence[str], labels: Labels, folds: int, seed: int) -> list[int]:
    """A fold from 0 to ``folds - 1`` for every study.

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

    Notes
    -----
    The result does not depend on the order of the studies.
    """
    names = sorted(set(patients))
    check_number(folds, len(names))
    row = {name: n for n, name in enumerate(names)}
    counts = np.zeros((len(names), len(strata_names())))
    np.add.at(counts, [row[patient] for patient in patients], strata(labels))
    chosen = _distribute(counts, folds, np.random.default_rng(seed))
    return [int(chosen[row[patient]]) for patient in patients]


def check_number(folds: int, patients: int) -> None:
    """Make sure that every fold can have a patient; no patients at all need no folds.

    Raises
    ------
    InvalidOptionError
        If there are fewer than 2 folds, or fewer patients than folds.
    """
    if patients and not 2 <= folds <= patients:
        raise InvalidOptionError(
            f"expected a number of folds from 2 to {patients}, the number of patients, but given --folds {folds}"
        )


def strata(labels: Labels) -> Counts:
    """What is balanced, counted per study: see `strata_names`."""
    columns: list[npt.NDArray[np.generic]] = [np.ones(len(labels))]
    for condition in Condition:
        own = labels[:, _columns_of(condition)]
        columns += [(own == grade).sum(axis=1) for grade in (Grade.MODERATE, Grade.SEVERE)]
    columns.append(_any_severe(labels))
    columns.append((labels == MISSING).any(axis=1))
    return np.stack(columns, axis=1).astype(np.float64)


def _columns_of(condition: Condition) -> list[int]:
    return [n for n, finding in enumerate(FINDINGS) if finding.condition is condition]


def _any_severe(labels: Labels) -> npt.NDArray[np.bool_]:
    """Which studies have a severe spinal level."""
    spinal = [n for n, finding in enumerate(FINDINGS) if finding.condition.group is Group.SPINAL]
    any_severe: npt.NDArray[np.bool_] = (labels[:, spinal] == Grade.SEVERE).any(axis=1)
    return any_severe


def strata_names() -> list[str]:
    """Names of the columns of `strata`."""
    graded = [f"{c.value}_{grade.column}" for c in Condition for grade in (Grade.MODERATE, Grade.SEVERE)]
    return ["studies", *graded, "any_severe_spinal", "any_missing"]


def _distribute(counts: Counts, folds: int, rng: np.random.Generator) -> Folds:
    """A fold for each patient, from what each has of the strata, ``(patients, strata)``."""
    share = counts / np.maximum(counts.sum(axis=0), 1) * np.sqrt([_WEIGHTS.get(name, 1.0) for name in strata_names()])
    order = rng.permutation(len(counts))
    return _refined(share, _greedy(share, folds, order), folds, order)


def _greedy(share: Counts, folds: int, order: npt.NDArray[np.int64]) -> Folds:
    """Give the patients with most of what is rare first, each to the fold that then strays least from its share."""
    order = order[np.argsort(-share[order].max(axis=1), kind="stable")]
    wanted = share.sum(axis=0) / folds
    filled = np.zeros((folds, share.shape[1]))
    result = np.zeros(len(share), dtype=np.intp)
    for patient in order:
        strayed = ((filled + share[patient] - wanted) ** 2 - (filled - wanted) ** 2).sum(axis=1)
        result[patient] = np.lexsort((filled[:, 0], np.round(strayed, 12)))[0]
        filled[result[patient]] += share[patient]
    return result


def _refined(share: Counts, chosen: Folds, folds: int, order: npt.NDArray[np.int64]) -> Folds:
    """Exchange patients between folds, or move one, while that makes the folds more even.

    With ``e`` what a fold has beyond its share and ``d`` what it gains by an exchange, the sum of squares over both
    folds changes by ``2 d (e_a - e_b) + 2 d d``. Moving is an exchange for nobody: each fold has a nobody at the end of
    the list.
    """
    with_nobody = np.concatenate([share, np.zeros((folds, share.shape[1]))])
    where = np.concatenate([chosen, np.arange(folds)])
    beyond = np.stack([share[chosen == fold].sum(axis=0) for fold in range(folds)]) - share.sum(axis=0) / folds
    for _ in range(_ROUNDS):
        before = where.copy()
        for patient in order:
            fold = where[patient]
            gain = with_nobody - share[patient]
            change = 2 * (gain * (beyond[fold] - beyond[where])).sum(axis=1) + 2 * (gain**2).sum(axis=1)
            if (where[: len(share)] == fold).sum() == 1:
                change[len(share) :] = np.inf  # a fold keeps its last patient
            other = int(np.argmin(np.round(change, 12)))
            if change[other] < -1e-9:
                _exchange(where, patient, other, len(share))
                beyond[fold] += gain[other]
                beyond[where[patient]] -= gain[other]
        if np.array_equal(before, where):
            break
    return where[: len(share)]


def _exchange(where: Folds, patient: int, other: int, patients: int) -> None:
    fold = where[patient]
    where[patient] = where[other]
    if other < patients:  # nobody stays where it is
        where[other] = fold


def shares(patients: Sequence[str], labels: Labels, folds: Sequence[int]) -> pd.DataFrame:
    """Label shares per fold, and of all: a row each.

    Columns: numbers of studies and patients; the share of studies with a severe canal; for each condition the shares of
    moderate and severe among its graded findings; the share of findings that nobody graded. NaN where none is graded.
    """
    named = {str(fold): np.asarray(folds) == fold for fold in sorted(set(folds))}
    rows = {
        fold: {"studies": int(members.sum()), "patients": len({p for p, m in zip(patients, members, strict=True) if m})}
        | _label_shares(labels[members])
        for fold, members in (named | {"all": np.ones(len(labels), dtype=bool)}).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fold")


def _label_shares(labels: Labels) -> dict[str, float]:
    found = {"any_severe_spinal": float(_any_severe(labels).mean())}
    for condition in Condition:
        graded = labels[:, _columns_of(condition)]
        total = (graded != MISSING).sum()
        for grade in (Grade.MODERATE, Grade.SEVERE):
            found[f"{condition.value}_{grade.column}"] = float((graded == grade).sum() / total) if total else np.nan
    return {**found, "missing": float((labels == MISSING).mean())}


def for_people(table: pd.DataFrame) -> str:
    """The table of `shares`, a column per fold, shares in per cent."""
    rows = []
    for name in table.columns:
        form = "{:.0f}" if name in {"studies", "patients"} else "{:.1%}"
        rows.append([name.replace("_", " "), *(form.format(value) for value in table[name])])
    rows = [["fold", *map(str, table.index)], *rows]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{row[0]:<{width}}" + "".join(f"{cell:>8}" for cell in row[1:]) for row in rows)
