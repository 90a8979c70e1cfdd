"""TensorBoard's log of a run, made when something is first written: scalars, and the page of hyper-parameters."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.utils import is_scalar
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from monai_spine.training.best_model import BestModel


class TensorBoard:
    """A `SummaryWriter` for handlers, and the scalars that every training logs.

    It has all methods of a `SummaryWriter`. The file is made by the first call, so that a run which fails while it
    reads its data leaves no empty log. In all processes but the first, calls do nothing.

    Parameters
    ----------
    folder
        Gets a folder for each run, named by the time.
    name
        Of a folder inside of it that gets them instead.
    """

    def __init__(self, folder: str, name: str = "") -> None:
        self.folder = Path(folder) / name
        self._writer: SummaryWriter | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copying and pickling ask for such names, and must not make a file
            raise AttributeError(name)
        if idist.get_rank() > 0:
            return _nothing
        if self._writer is None:
            self._writer = SummaryWriter(str(self.folder / time.strftime("%Y%m%d-%H%M%S")))
        return getattr(self._writer, name)

    def attach(self, trainer: Engine, evaluator: Engine, optimizer: Optimizer, *, rates_at: Events) -> None:
        """Log losses of iterations as ``loss/training``, figures of validations as `tag_of` groups them, and rates.

        A rate goes under the ``name`` of its group of parameters, as in ``lr/backbone``; without a name, under
        ``lr/all``, or ``lr/group_0`` and so on if there are several.

        Parameters
        ----------
        rates_at
            The trainer's event at which to log learning rates.
        """
        if idist.get_rank() > 0:
            return
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._log_loss)
        trainer.add_event_handler(rates_at, self._log_rates, optimizer, rates_at)
        evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._log_figures)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

    def _log_loss(self, trainer: Engine) -> None:
        output: Any = trainer.state.output
        first = output[0] if isinstance(output, list) else output  # of decollated items each holds the batch's loss
        self.add_scalar("loss/training", float(torch.as_tensor(first["loss"]).detach()), trainer.state.iteration)

    def _log_rates(self, trainer: Engine, optimizer: Optimizer, event: Events) -> None:
        step = trainer.state.get_event_attrib_value(event)
        groups = optimizer.param_groups
        unnamed = "all" if len(groups) == 1 else "group_{}"
        # groups of one name differ in weight decay alone
        rates = {group.get("name", unnamed.format(n)): float(group["lr"]) for n, group in enumerate(groups)}
        for name, rate in rates.items():
            self.add_scalar(f"lr/{name}", rate, step)

    def _log_figures(self, evaluator: Engine) -> None:
        for name, value in evaluator.state.metrics.items():
            if is_scalar(value):
                # MONAI sets an evaluator's epoch to the trainer's
                self.add_scalar(tag_of(name), float(value), evaluator.state.epoch)
        self.flush()


def tag_of(figure: str) -> str:
    """The tag of a validation's figure: under ``loss/``, ``auc/``, or ``score/`` for all others."""
    if "/" in figure:  # of one class, such as auc/pneumonia
        return figure
    for group in ("loss", "auc"):
        if group in figure.split("_"):
            rest = "_".join(word for word in figure.split("_") if word != group)
            return f"{group}/{rest or 'validation'}"
    return f"score/{figure.removeprefix('score_')}"


def _nothing(*_: Any, **__: Any) -> None:
    """What a process that does not log does."""


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
        figures[self.best_model.key_metric] = self.best_model.best
        kept = {f"kept/{name}": value for name, value in figures.items() if math.isfinite(value)}
        # SummaryWriter.add_hparams would open a second log beside the run's own, and TensorBoard show two runs
        log: Any = self.writer.file_writer
        for summary in hparams({name: _plain(value) for name, value in self.settings.items()}, kept):
            log.add_summary(summary, trainer.state.epoch)
        for name, value in kept.items():
            self.writer.add_scalar(name, value, trainer.state.epoch)


def _plain(value: Any) -> int | float | str:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)
