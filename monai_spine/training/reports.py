"""The figures of a training, a line an epoch, and of an evaluation, in ``metrics.json``."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from monai_spine.files import write_json
from monai_spine.scoring.competition import against_prior

logger = logging.getLogger(__name__)

SCORES = {"score": "score", "prior": "score_of_prior"}
"""The figures of a grader's validation: its score, and that of the per-level prior."""


class EpochReport:
    """Logs the epoch's mean loss and the last validation's figures, in the first process.

    Parameters
    ----------
    evaluator
        The validation's engine.
    figures
        The title of each figure in the line, and its name among the engine's metrics; or the names alone.
    """

    def __init__(self, evaluator: Engine, figures: Mapping[str, str] | Sequence[str] = SCORES) -> None:
        self.evaluator = evaluator
        self.figures = dict(figures) if isinstance(figures, Mapping) else {name: name for name in figures}
        self._losses: list[Any] = []

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer. Attach after the handler that validates."""
        if idist.get_rank() > 0:
            return
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
        losses = [float(loss) for loss in self._losses]  # once an epoch: each transfer makes the GPU wait
        loss = sum(losses) / max(1, len(losses))
        figures = {"loss": loss, **{title: metrics.get(name, math.nan) for title, name in self.figures.items()}}
        line = "  ".join(f"{title} {value:.4f}" for title, value in figures.items())
        direction = "  (lower is better)" if "score" in self.figures else ""
        logger.info("epoch %d/%d  %s%s", trainer.state.epoch, trainer.state.max_epochs, line, direction)


class ScoreReport:
    """Writes all of an evaluator's metrics to ``metrics.json`` in a folder, and logs score and prior.

    Figures that are not defined for these studies, such as an AUC without any severe label, are null.
    """

    def __init__(self, output_dir: str) -> None:
        self.path = Path(output_dir) / "metrics.json"

    def attach(self, engine: Engine) -> None:
        """Write when the evaluator is done."""
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self, evaluator: Engine) -> None:
        if idist.get_rank() != 0:
            return
        metrics = {name: float(value) for name, value in evaluator.state.metrics.items()}
        defined = {name: None if math.isnan(value) else value for name, value in sorted(metrics.items())}
        write_json(self.path, defined)
        score, prior = metrics.get("score", math.nan), metrics.get("score_of_prior", math.nan)
        logger.info("score %.4f (lower is better), %s: %s", score, against_prior(score, prior), self.path)
