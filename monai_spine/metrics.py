"""Ignite metrics of graded studies.

Each takes ``(study_ids, probabilities, labels)`` of a batch: ids as strings, ``(25, 3)`` probabilities and ``(25,)``
labels. Studies are known by their id, so that the ones a distributed sampler repeats count once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.metrics import Metric
from monai.handlers import from_engine
from sklearn.metrics import roc_auc_score

from monai_spine.scoring import competition_score, row_losses
from monai_spine.scoring import normalised as normalised_rows
from monai_spine.spine import FINDINGS, MISSING, Condition, Grade

Batch = tuple[Sequence[str], Sequence[torch.Tensor], Sequence[torch.Tensor]]

OUTPUT_KEYS = ("study_id", "pred", "label")


class StudyMetric(Metric):
    """Collects studies over an epoch, and over processes, and gives one number for all of them."""

    def __init__(self) -> None:
        self._studies: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        super().__init__(output_transform=from_engine(OUTPUT_KEYS))

    def reset(self) -> None:
        """Forget the studies."""
        self._studies = {}

    def update(self, output: Batch) -> None:
        """Add a batch of studies."""
        for study_id, probabilities, labels in zip(*output, strict=True):
            self._studies[study_id] = (_array(probabilities).astype(np.float64), _array(labels).astype(np.int64))

    def compute(self) -> float:
        """The figure over all processes' studies; NaN where it is not defined."""
        studies = gathered(self._studies)
        if not studies:
            return float("nan")
        probabilities, labels = (np.stack(part) for part in zip(*studies.values(), strict=True))
        return self.figure(labels, probabilities)

    @abstractmethod
    def figure(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """The figure of labels ``(studies, 25)`` and probabilities ``(studies, 25, 3)``."""


class CompetitionScore(StudyMetric):
    """The competition's score, or one of its parts; lower is better.

    Parameters
    ----------
    part
        A field of `monai_spine.scoring.Score`.
    """

    def __init__(self, part: str = "score") -> None:
        self.part = part
        super().__init__()

    def figure(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """The part asked for."""
        return competition_score(labels, probabilities).as_dict()[self.part]


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


def score_metric() -> dict[str, Metric]:
    """The figure by which models are chosen: ``score``."""
    return {"score": CompetitionScore()}


def detail_metrics() -> dict[str, Metric]:
    """The parts of the score, and loss and AUC of each condition."""
    parts = ("spinal", "foraminal", "subarticular", "any_severe_spinal")
    return {
        **{f"score_{part}": CompetitionScore(part) for part in parts},
        **{f"loss_{condition.value}": ConditionLoss(condition.value) for condition in Condition},
        **{f"auc_severe_{condition.value}": SevereAUC(condition.value) for condition in Condition},
    }


def columns_of(condition: Condition) -> list[int]:
    """Where a condition's five levels stand among the 25 findings."""
    return [n for n, finding in enumerate(FINDINGS) if finding.condition is condition]


def gathered(studies: dict[str, Any]) -> dict[str, Any]:
    """The studies of all processes, by id."""
    if idist.get_world_size() == 1:
        return studies
    parts: list[Any] = [None] * idist.get_world_size()
    torch.distributed.all_gather_object(parts, studies)
    return {study_id: study for part in parts for study_id, study in part.items()}


def _array(values: torch.Tensor) -> np.ndarray:
    return torch.as_tensor(values).detach().float().cpu().numpy()
