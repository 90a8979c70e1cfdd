"""Folds to fit on and judge by: a patient's studies stay together, severe findings are spread evenly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from monai_spine.errors import InvalidOptionError
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import FINDINGS, Grade, Group

_SPINAL = [n for n, finding in enumerate(FINDINGS) if finding.condition.group is Group.SPINAL]

Rows = npt.NDArray[np.intp]


def grouped_folds(grades: Ints, patients: Sequence[str], folds: int, seed: int = 0) -> Rows:
    """A fold from 0 to ``folds - 1`` for every study.

    Patients with a severe canal, with another severe finding only, and with none are dealt out in turn, so that folds
    differ by at most one of each; a fold may still be without severe findings when there are few.

    Parameters
    ----------
    grades
        ``(studies, 25)``.
    patients
        Of each study.

    Raises
    ------
    InvalidOptionError
        If there are fewer than 2 folds, or fewer patients than folds.
    """
    names, owner = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if not 2 <= folds <= len(names):
        raise InvalidOptionError(
            f"expected a number of folds from 2 to {len(names)}, the number of patients, but given --folds {folds}"
        )
    severe = grades == Grade.SEVERE
    stratum = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(stratum, owner, np.where(severe[:, _SPINAL].any(axis=1), 2, severe.any(axis=1)))
    order = np.lexsort((np.random.default_rng(seed).permutation(len(names)), stratum))
    fold_of_patient = np.empty(len(names), dtype=np.intp)
    fold_of_patient[order] = np.arange(len(names)) % folds
    return fold_of_patient[owner]


def out_of_fold(fold_of: Rows, fitted: Callable[[Rows, Rows], Floats], like: Floats) -> Floats:
    """What ``fitted(training, held_out)`` says of every fold's studies, learnt from the others.

    Parameters
    ----------
    fold_of
        Fold of each study.
    fitted
        Takes the numbers of the studies to learn from and of those to answer for; returns the answers for the latter,
        study by study.
    like
        An array with an entry per study, of the answers' shape.
    """
    answers = np.empty_like(like)
    for fold in np.unique(fold_of):
        held_out = np.flatnonzero(fold_of == fold)
        answers[held_out] = fitted(np.flatnonzero(fold_of != fold), held_out)
    return answers
