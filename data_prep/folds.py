"""Folds for cross-validation: grouped by patient, stratified on several things at once, the same for the same seed.

Scikit-learn's StratifiedGroupKFold balances one class per study; iterative-stratification and scikit-multilearn know
several, but no groups. Here every condition's moderate and severe levels, any severe canal and missing labels are
balanced together (`data_prep.balance`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_prep.balance import Counts, distribute
from monai_spine.errors import InvalidOptionError
from monai_spine.spine import FINDINGS, MISSING, Condition, Grade, Group

Labels = npt.NDArray[np.int64]

_WEIGHTS = {"studies": 4.0, "any_severe_spinal": 4.0}
"""What is balanced first: the size, and the part of the score that a fold may have too few studies for."""


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
    weights = [_WEIGHTS.get(name, 1.0) for name in strata_names()]
    chosen = distribute(counts, weights, [1 / folds] * folds, seed)
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
