"""Keeps, beside the best weights, from where on an image of several labels has one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from monai_spine.images.data.datalist import Task
from monai_spine.images.evaluation.thresholds import Criterion, chosen_thresholds, write_thresholds
from monai_spine.training.best_model import BestModel
from monai_spine.training.engine_output import Answers

logger = logging.getLogger(__name__)


class DecisionThresholds:
    """Chooses thresholds on the validation whose weights `BestModel` keeps, and writes them when it does.

    Of images with one class each there is nothing to choose, and nothing is written.

    Parameters
    ----------
    path
        Where they go, as JSON.
    classes, task
        Of the datalist.
    best_model
        Attached before.
    criterion
        See `monai_spine.images.evaluation.thresholds.chosen_thresholds`.
    """

    def __init__(
        self, *, path: str, classes: Sequence[str], task: str, best_model: BestModel, criterion: Criterion = "f1"
    ) -> None:
        self.path, self.classes, self.task = Path(path), tuple(classes), Task(task)
        self.best_model, self.criterion = best_model, criterion
        self._answers = Answers()

    def attach(self, evaluator: Engine, trainer: Engine) -> None:
        """Choose whenever the evaluator has run inside the trainer and gave the best figure so far."""
        if self.task is Task.MULTILABEL:
            self._answers.attach(evaluator)
            evaluator.add_event_handler(Events.COMPLETED, self._choose, trainer)

    def _choose(self, evaluator: Engine, trainer: Engine) -> None:  # noqa: ARG002
        if self.best_model.best_epoch != trainer.state.epoch:
            return
        labels, probabilities = self._answers.arrays()
        if idist.get_rank() == 0:
            write_thresholds(self.path, self.classes, chosen_thresholds(labels, probabilities, self.criterion))
            logger.info("epoch %d: thresholds of the best weights: %s", trainer.state.epoch, self.path)
