"""Ignite metrics of graded studies.

Each batch is a list of studies with ``study_id``, ``pred``, ``(25, 3)`` probabilities, and ``label``, ``(25,)``.
Studies are known by their id, so that the ones a distributed sampler repeats count once.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from sklearn.metrics import roc_auc_score

from monai_spine.data.datalist import Record, label_array
from monai_spine.scoring.competition import JEFFREYS, competition_score, constant_score, level_prior, row_losses
from monai_spine.scoring.prevalence import normalised as normalised_rows
from monai_spine.spine import MISSING, Condition, Grade, columns_of
from monai_spine.training.engine_output import CollectedCases


class CaseMetric(Metric):
    """A metric of all cases of an epoch in all processes, whether studies or images."""

    def __init__(self) -> None:
        self._cases = CollectedCases()
        super().__init__()

    def reset(self) -> None:
        """Clear the cases."""
        self._cases.reset()

    def iteration_completed(self, engine: Engine) -> None:
        """Add the cases of an iteration."""
        self._cases.collect(engine)


class StudyMetric(CaseMetric):
    """Computes one number of the studies of an epoch."""

    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch of studies."""
        label, pred = (torch.stack([torch.as_tensor(study[key]) for study in output]) for key in ("label", "pred"))
        self._cases.add([study["study_id"] for study in output], label, pred)

    def compute(self) -> float:
        """The figure over all processes' studies; NaN where it is not defined."""
        labels, probabilities = self._cases.arrays()
        return self.figure(labels, probabilities) if len(labels) else float("nan")

    @abstractmethod
    def figure(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """The figure of labels ``(studies, 25)`` and probabilities ``(studies, 25, 3)``."""


class CompetitionScore(StudyMetric):
    """The competition's score, or one of its parts; lower is better.

    Parameters
    ----------
    part
        A field of `monai_spine.scoring.competition.Score`.
    """

    def __init__(self, part: str = "score") -> None:
        self.part = part
        super().__init__()

    def figure(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """The part asked for."""
        return competition_score(labels, probabilities).as_dict()[self.part]


class PriorScore(StudyMetric):
    """The score that the per-level prior of the training studies reaches on the same studies."""

    def __init__(self, training_labels: np.ndarray) -> None:
        self.rows = level_prior(training_labels, JEFFREYS)
        super().__init__()

    def figure(self, labels: np.ndarray, probabilities: np.ndarray) -> float:  # noqa: ARG002
        """The prior's score, whatever the model's probabilities."""
        return constant_score(labels, self.rows).score


class ConditionLoss(StudyMetric):
    """Weighted log loss of one condition over its five levels."""

    def __init__(self, condition: str) -> None:
        self.columns = columns_of(Condition(condition))
        super().__init__()

    def figure(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """The loss; NaN without any label."""
        losses, weights = row_losses(labels[:, self.columns], normalised_rows(probabilities[:, self.columns]))
        return float((losses * weights).sum() / weights.sum()) if weights.any() else float("nan")


class SevereAUC(StudyMetric):
    """Area under the ROC curve of "severe" against the rest for one condition, its five levels pooled."""

    def __init__(self, condition: str) -> None:
        self.columns = columns_of(Condition(condition))
        super().__init__()

    def figure(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """The area; NaN unless there are both severe labels and others."""
        labels, severe = labels[:, self.columns], probabilities[:, self.columns, Grade.SEVERE]
        known = labels != MISSING
        truth = labels[known] == Grade.SEVERE
        return float(roc_auc_score(truth, severe[known])) if 0 < truth.sum() < len(truth) else float("nan")


def detail_metrics(training: Sequence[Record]) -> dict[str, Metric]:
    """The prior's score, the parts of the score, and loss and AUC of each condition.

    Parameters
    ----------
    training
        The studies whose labels make the prior.
    """
    parts = ("spinal", "foraminal", "subarticular", "any_severe_spinal")
    return {
        "score_of_prior": PriorScore(label_array(training)),
        **{f"score_{part}": CompetitionScore(part) for part in parts},
        **{f"loss_{condition.value}": ConditionLoss(condition.value) for condition in Condition},
        **{f"auc_severe_{condition.value}": SevereAUC(condition.value) for condition in Condition},
    }
