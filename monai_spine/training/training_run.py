"""A training from its first epoch to its last: what listens to the trainer, in which order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from torch.optim import Optimizer

from monai_spine.bundle.model_description import description_path
from monai_spine.bundle.options import RunSettings
from monai_spine.training.best_model import BestModel, describe
from monai_spine.training.epoch_start import ReseedEachEpoch
from monai_spine.training.run_state import RunState, Stateful
from monai_spine.training.tensorboard.log import HyperParameters, TensorBoard
from monai_spine.training.weight_average import WeightAverage


class Handler(Protocol):
    """A handler of one engine."""

    def attach(self, engine: Engine, /) -> None:
        """Listen to it."""


_MLFLOW_RUN = "mlflow_run.txt"
"""The file beside the weights with the name of the run in MLflow."""


class Listener(Protocol):
    """A handler of both engines."""

    def attach(self, evaluator: Engine, trainer: Engine) -> None:
        """Listen to them."""


class TrainingRun:
    """Attaches to a trainer and its evaluator what holds the trainer itself, and runs it.

    A handler that holds the trainer cannot stand among the trainer's own handlers in a configuration: the reference
    would be circular.

    Parameters
    ----------
    trainer, evaluator
        MONAI's engines.
    network
        The one that learns; the bare network where another wraps it for several processes.
    optimizer, lr_scheduler
        Those of the trainer.
    best_model
        Keeps the best weights. The run's state, ``latest.pt``, is written beside them.
    tensorboard
        The run's log.
    average
        Moving average of the weights, if there is one.
    mlflow
        See `MLflowTracking`; None for none.
    shown_metrics
        The validation's figures that TensorBoard's HPARAMS page shows beside the settings; none for no such page.
    listeners
        Further handlers of both engines, attached after ``best_model``; None is skipped.
    trainer_handlers
        Further handlers of the trainer that the configuration defines elsewhere. MONAI's check of a bundle's properties
        fails on references among ``train#handlers``.
    keep
        Names of further files beside the weights that belong to a run, and move aside with it.
    resume
        True goes on after the last finished epoch; ``auto`` does so if there is one, and does nothing if the run has
        finished.
    seed
        Of the random numbers of each epoch; each process draws its own.
    settings
        What the result depends on, for `RunState`, and the description that is written beside the weights.
    described
        A dataclass whose fields are the described settings, in place of those that ``settings`` holds.
    rates_each_epoch
        Whether to log learning rates once an epoch, in place of once an iteration.
    progress
        Whether to draw a progress bar.
    """

    def __init__(
        self,
        *,
        trainer: Engine,
        evaluator: Engine,
        network: torch.nn.Module,
        optimizer: Optimizer,
        lr_scheduler: Stateful,
        best_model: BestModel,
        tensorboard: TensorBoard,
        mlflow: str | None = None,
        average: WeightAverage | None = None,
        shown_metrics: Sequence[str] = (),
        listeners: Sequence[Listener | None] = (),
        trainer_handlers: Sequence[Handler] = (),
        keep: Sequence[str] = (),
        resume: bool | str = False,
        seed: int = 0,
        settings: RunSettings | None = None,
        described: Any = None,
        rates_each_epoch: bool = False,
        progress: bool = False,
    ) -> None:
        best_model.check(evaluator)
        self.trainer, self.evaluator, self.optimizer = trainer, evaluator, optimizer
        self.best_model, self.tensorboard, self.average = best_model, tensorboard, average
        self.mlflow = mlflow
        self.listeners = [listener for listener in listeners if listener is not None]
        self.trainer_handlers = list(trainer_handlers)
        self.resume, self.progress = resume, progress
        self.reseeding = ReseedEachEpoch(seed, getattr(trainer, "data_loader", None))
        self.rates_at = Events.EPOCH_COMPLETED if rates_each_epoch else Events.ITERATION_COMPLETED
        parts: dict[str, Stateful] = {
            "network": network,
            "optimizer": optimizer,
            "lr_scheduler": lr_scheduler,
            "best_model": best_model,
        }
        if average is not None and average.active:
            parts["ema_network"] = average.ema_model
        self.shown_metrics, self.shown = list(shown_metrics), (settings or RunSettings()).shown
        settings = settings or RunSettings()
        self.description = settings.description
        if described is not None:
            self.description = replace(self.description, settings=dataclasses.asdict(described))
        folder = Path(best_model.path).parent
        beside = [folder / name for name in (*keep, _MLFLOW_RUN)]
        files = [best_model.path, description_path(best_model.path), *beside]
        self.state = RunState(parts=parts, folder=folder, keep=[str(file) for file in files], settings=settings.result)

    def attach(self) -> None:
        """Attach everything but the run's state."""
        self.reseeding.attach(self.trainer)
        self.best_model.attach(self.evaluator, self.trainer)  # first: listeners ask it whether an epoch was the best
        if self.shown_metrics:
            shown = {**self.shown, "epochs": self.trainer.state.max_epochs}
            page = HyperParameters(
                writer=self.tensorboard, settings=shown, metrics=self.shown_metrics, best_model=self.best_model
            )
            page.attach(self.evaluator, self.trainer)
        if self.mlflow:
            from monai_spine.training.mlflow_tracking import MLflowTracking  # MLflow's packages load for seconds

            shown = {**self.shown, "epochs": self.trainer.state.max_epochs}
            name_file = Path(self.best_model.path).with_name(_MLFLOW_RUN)
            MLflowTracking(self.mlflow, shown, name_file).attach(self.evaluator, self.trainer)
        for listener in self.listeners:
            listener.attach(self.evaluator, self.trainer)
        for handler in self.trainer_handlers:
            handler.attach(self.trainer)
        self.tensorboard.attach(self.trainer, self.evaluator, self.optimizer, rates_at=self.rates_at)
        if self.average is not None:
            self.average.attach(self.trainer)
        ProgressBar(disable=not self.progress).attach(self.trainer)

    def run(self) -> None:
        """Train, unless the run has finished; errors are those of `RunState.attach` and of the engines."""
        # first: it moves an earlier run's files out of the way
        if self.state.attach(self.trainer, resume=self.resume):
            if idist.get_rank() == 0:
                describe(self.best_model.path, self.description)  # of a resumed run, the weights are there
                self.best_model.description = self.description
            self.attach()
            self.trainer.run()
        self.tensorboard.close()


def evaluate(evaluator: Engine, *, progress: bool = False) -> None:
    """Run an evaluator, with a progress bar if asked to."""
    ProgressBar(disable=not progress).attach(evaluator)
    evaluator.run()
