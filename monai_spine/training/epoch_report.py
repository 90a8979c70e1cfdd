"""One line a training epoch: loss and chosen figures of the validation, such as the score and the prior's."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events

logger = logging.getLogger(__name__)

SCORES = {"score": "score", "prior": "score_of_prior"}
"""What a grader's epoch is judged by."""


class EpochReport:
    """Logs the epoch's mean loss and the last validation's figures.

    Parameters
    ----------
    evaluator
        The validation's engine.
    figures
        What to call each figure, and its name among the engine's metrics.
    """

    def __init__(self, evaluator: Engine, figures: Mapping[str, str] = SCORES) -> None:
        self.evaluator = evaluator
        self.figures = dict(figures)
        self._losses: list[Any] = []

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer. Attach after the handler that validates."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def _start(self) -> None:
        self._losses = []

    def _collect(self, trainer: Engine) -> None:
        output: Any = trainer.state.output
        parts = output if isinstance(output, list) else [output]
        self._losses += [torch.as_tensor(part["loss"]).detach() for part in parts]

    def _report(self, trainer: Engine) -> None:
        metrics = self.evaluator.state.metrics
        losses = [float(loss) for loss in self._losses]  # now, since asking makes a GPU finish what it has to do
        loss = sum(losses) / max(1, len(losses))
        figures = {"loss": loss, **{title: metrics.get(name, math.nan) for title, name in self.figures.items()}}
        line = "  ".join(f"{title} {value:.4f}" for title, value in figures.items())
        logger.info("epoch %d/%d  %s", trainer.state.epoch, trainer.state.max_epochs, line)
