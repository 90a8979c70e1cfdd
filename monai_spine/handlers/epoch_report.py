"""One line a training epoch: loss, score, and the prior's score beside it."""

from __future__ import annotations

import logging
import math

from ignite.engine import Engine, Events

logger = logging.getLogger(__name__)


class EpochReport:
    """Logs the epoch's mean loss and the last validation's score and prior.

    Parameters
    ----------
    evaluator
        The validation's engine; its metrics ``score`` and ``score_of_prior`` are reported.
    """

    def __init__(self, evaluator: Engine) -> None:
        self.evaluator = evaluator
        self._losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer. Attach after the handler that validates."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def _start(self) -> None:
        self._losses = []

    def _collect(self, trainer: Engine) -> None:
        for study in trainer.state.output:  # type: ignore[union-attr]
            self._losses.append(float(study["loss"]))

    def _report(self, trainer: Engine) -> None:
        metrics = self.evaluator.state.metrics
        logger.info(
            "epoch %d/%d  loss %.4f  score %.4f  prior %.4f",
            trainer.state.epoch,
            trainer.state.max_epochs,
            sum(self._losses) / max(1, len(self._losses)),
            metrics.get("score", math.nan),
            metrics.get("score_of_prior", math.nan),
        )
