"""A run's settings, and the figures of the weights that it kept, on TensorBoard's HPARAMS page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from monai_spine.training.best_model import BestModel
from monai_spine.training.tensorboard.log import TensorBoard


class HyperParameters:
    """Writes settings and figures into the run's own log when training ends, without a second run beside it.

    Parameters
    ----------
    writer
        TensorBoard's.
    settings
        By name; a value that is neither a number nor a word is written as Python prints it.
    metrics
        Which of the evaluator's figures to show, as ``kept/<metric>``: those of the epoch whose weights are kept.
        A figure that is not a number is left out, and so is one of an epoch before a resumed run began.
    best_model
        Holds that epoch, and its own figure across resumed runs.
    """

    def __init__(
        self,
        *,
        writer: SummaryWriter | TensorBoard,
        settings: Mapping[str, Any],
        metrics: Sequence[str],
        best_model: BestModel,
    ) -> None:
        self.writer, self.settings, self.metrics, self.best_model = writer, dict(settings), list(metrics), best_model
        self._by_epoch: dict[int, dict[str, float]] = {}

    def attach(self, evaluator: Engine, trainer: Engine) -> None:
        """Keep the figures of each validation, write when the trainer is done."""
        evaluator.add_event_handler(Events.COMPLETED, self._keep, trainer)
        trainer.add_event_handler(Events.COMPLETED, self._write)

    def _keep(self, evaluator: Engine, trainer: Engine) -> None:
        figures = {name: float(evaluator.state.metrics.get(name, math.nan)) for name in self.metrics}
        self._by_epoch[trainer.state.epoch] = figures

    def _write(self, trainer: Engine) -> None:
        if idist.get_rank() > 0:
            return
        figures = dict(self._by_epoch.get(self.best_model.best_epoch, {}))
        figures[self.best_model.metric] = self.best_model.best
        kept = {f"kept/{name}": value for name, value in figures.items() if math.isfinite(value)}
        # SummaryWriter.add_hparams would open a second log beside the run's own, and TensorBoard show two runs
        log: Any = self.writer.file_writer
        for summary in hparams({name: _plain(value) for name, value in self.settings.items()}, kept):
            log.add_summary(summary, trainer.state.epoch)
        for name, value in kept.items():
            self.writer.add_scalar(name, value, trainer.state.epoch)


def _plain(value: Any) -> int | float | str:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)
