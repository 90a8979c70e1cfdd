"""Folds for cross-validation: grouped by patient, stratified on several things at once, the same for the same seed.

Scikit-learn's StratifiedGroupKFold balances one class per study; here every condition's moderate and severe levels and
any severe canal are balanced together, by the greedy iterative stratification of Sechidis et al. (2011) with patients
in place of samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from monai_spine.errors import InvalidOptionError, SpineError, listed
from monai_spine.spine import FINDINGS, MISSING, Condition, Grade, Group

Labels = npt.NDArray[np.int64]
Counts = npt.NDArray[np.float64]


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
    """
    names = sorted(set(patients))
    check_number(folds, len(names))
    row = {name: n for n, name in enumerate(names)}
    counts = np.zeros((len(names), len(strata_names())))
    np.add.at(counts, [row[patient] for patient in patients], strata(labels))
    chosen = _distribute(counts, folds, np.random.default_rng(seed))
    result = [int(chosen[row[patient]]) for patient in patients]
    check_no_leak(patients, result)
    return result


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
    columns = [np.ones(len(labels))]
    for condition in Condition:
        members = [finding.condition is condition for finding in FINDINGS]
        columns += [(labels[:, members] == grade).sum(axis=1) for grade in (Grade.MODERATE, Grade.SEVERE)]
    spinal = [finding.condition.group is Group.SPINAL for finding in FINDINGS]
    columns.append((labels[:, spinal] == Grade.SEVERE).any(axis=1))
    columns.append((labels == MISSING).any(axis=1))
    return np.stack(columns, axis=1).astype(np.float64)


def strata_names() -> list[str]:
    """Names of the columns of `strata`."""
    graded = [f"{c.value}_{grade.column}" for c in Condition for grade in (Grade.MODERATE, Grade.SEVERE)]
    return ["studies", *graded, "any_severe_spinal", "any_missing"]


def _distribute(counts: Counts, folds: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Give the patients with most of what is rare first, each to the fold that then strays least from its share."""
    share = counts / np.maximum(counts.sum(axis=0), 1)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-share[order].max(axis=1), kind="stable")]
    filled = np.zeros((folds, counts.shape[1]))
    result = np.zeros(len(counts), dtype=np.intp)
    for patient in order:
        strayed = ((filled + share[patient] - 1 / folds) ** 2 - (filled - 1 / folds) ** 2).sum(axis=1)
        result[patient] = np.lexsort((filled[:, 0], np.round(strayed, 12)))[0]
        filled[result[patient]] += share[patient]
    return result


def check_no_leak(patients: Sequence[str], folds: Sequence[int]) -> None:
    """Make sure that no patient stands in two folds.

    Raises
    ------
    SpineError
        If one does.
    """
    seen: dict[str, int] = {}
    leaks = {patient for patient, fold in zip(patients, folds, strict=True) if seen.setdefault(patient, fold) != fold}
    if leaks:
        raise SpineError(f"{len(leaks)} patients stand in more than one fold: {listed(sorted(leaks))}")


def shares(labels: Labels, folds: Sequence[int]) -> pd.DataFrame:
    """Per fold, the number of studies and the mean per study of everything that is balanced."""
    table = pd.DataFrame(strata(labels), columns=strata_names()).assign(fold=list(folds))
    grouped = table.groupby("fold")
    return pd.concat([grouped["studies"].sum().astype(int), grouped[strata_names()[1:]].mean().round(4)], axis=1)
