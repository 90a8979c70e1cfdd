"""Folds for fitting on tables: a patient's studies stay in one fold, and severe findings are spread evenly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from monai_spine.errors import InvalidOptionError
from monai_spine.scoring.competition import Floats, Ints, columns_of
from monai_spine.spine import Grade, Group

Rows = npt.NDArray[np.intp]
"""Numbers of studies, or a fold for every study."""


def grouped_folds(grades: Ints, patients: Sequence[str], folds: int, seed: int = 0) -> Rows:
    """A fold from 0 to ``folds - 1`` for every study.

    There are three strata of patients: with a severe canal stenosis, with another severe finding only, and without
    severe findings. The patients of each stratum are dealt to the folds in turn, so that no two folds differ by more
    than one patient of a stratum. With few severe findings, a fold can still be without any.

    Parameters
    ----------
    grades
        ``(studies, 25)``.
    patients
        The patient of each study.
    seed
        For the order of the patients within a stratum.

    Raises
    ------
    InvalidOptionError
        If there are fewer than 2 folds, or fewer patients than folds.
    """
    names, patient_of = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if not 2 <= folds <= len(names):
        raise InvalidOptionError(
            f"expected a number of folds from 2 to {len(names)}, the number of patients, but found --folds {folds}"
        )
    severe = grades == Grade.SEVERE
    stratum = np.zeros(len(names), dtype=np.int64)
    # The canal has a stratum of its own, because the score's any-severe part depends on it alone.
    spinal = severe[:, columns_of(Group.SPINAL)].any(axis=1)
    np.maximum.at(stratum, patient_of, np.where(spinal, 2, severe.any(axis=1)))
    # Sorted by stratum and at random within it, then dealt out like cards.
    order = np.lexsort((np.random.default_rng(seed).permutation(len(names)), stratum))
    fold_of_patient = np.empty(len(names), dtype=np.intp)
    fold_of_patient[order] = np.arange(len(names)) % folds
    return fold_of_patient[patient_of]


def out_of_fold(fold_of: Rows, fitted: Callable[[Rows, Rows], Floats], like: Floats) -> Floats:
    """Out-of-fold answers: ``fitted(training, held_out)`` for every fold, joined in the order of the studies.

    Parameters
    ----------
    fold_of
        The fold of each study.
    fitted
        Takes the numbers of the studies to fit on, and of the studies held out. Returns an answer for each of the
        latter.
    like
        An array of the shape that all answers together have, an entry for each study.
    """
    answers = np.empty_like(like)
    for fold in np.unique(fold_of):
        held_out = np.flatnonzero(fold_of == fold)
        answers[held_out] = fitted(np.flatnonzero(fold_of != fold), held_out)
    return answers
