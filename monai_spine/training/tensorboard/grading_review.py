"""Precision-recall curves and confusion matrices of grades, for each condition."""

from __future__ import annotations

import numpy as np

from monai_spine.scoring.competition import Floats, Ints, natural_prevalence
from monai_spine.scoring.confusion import Confusion
from monai_spine.scoring.figures import Curve, study_confusions
from monai_spine.spine import MISSING, Condition, Grade
from monai_spine.training.metrics import columns_of

_LOWEST_GRADES = {"severe": Grade.SEVERE, "moderate_or_worse": Grade.MODERATE}


def grading_curves(labels: Ints, probabilities: Floats) -> dict[str, Curve]:
    """Curves of "severe" and of "moderate or worse" for each condition that has labels on both sides.

    Parameters
    ----------
    labels
        ``(studies, 25)``.
    probabilities
        ``(studies, 25, 3)``, competition-weighted; the curves are those at natural prevalence.
    """
    natural = natural_prevalence(probabilities)
    curves = {}
    for condition in Condition:
        own = columns_of(condition)
        known = labels[:, own] != MISSING
        for name, lowest in _LOWEST_GRADES.items():
            score = natural[:, own][..., lowest:].sum(axis=-1)[known]
            curves[f"{name}/{condition.value}"] = Curve(labels[:, own][known] >= lowest, score)
    return {name: curve for name, curve in curves.items() if curve.defined}


def grading_confusions(labels: Ints, probabilities: Floats) -> list[Confusion]:
    """Matrices of each condition and of all conditions, of the most probable grade at natural prevalence.

    Parameters
    ----------
    labels, probabilities
        As for `grading_curves`.
    """
    decided = natural_prevalence(probabilities).argmax(axis=-1)
    members = {condition.value.replace("_", " "): columns_of(condition) for condition in Condition}
    members["all conditions"] = list(range(labels.shape[1]))
    names = tuple(grade.title for grade in Grade)
    square = (len(Grade), len(Grade))
    counts = {
        title: study_confusions(labels[:, own], decided[:, own]).sum(axis=0).reshape(square)
        for title, own in members.items()
    }
    return [Confusion(title, names, matrix.astype(np.int64)) for title, matrix in counts.items()]
