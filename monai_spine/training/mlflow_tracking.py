"""MLflow beside TensorBoard: the same scalars and settings, by MONAI's handler, in a local folder or on a server."""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from monai.handlers import MLFlowHandler
from monai.utils import is_scalar

from monai_spine.errors import InvalidOptionError
from monai_spine.files import write_text
from monai_spine.training.tensorboard.log import tag_of

EXPERIMENT = "monai_spine"
_EVERY = 20
"""Iterations from one logged loss to the next: a database takes some milliseconds for each. An epoch's last is logged,
too."""
_LONGEST = 500
"""Characters of a parameter that MLflow takes."""


class MLflowTracking:
    """Logs a training to MLflow: settings, the loss, and the figures of validations, named as in TensorBoard.

    Nothing leaves the machine unless ``place`` is the address of a server.

    Parameters
    ----------
    place
        A folder, which gets a database ``mlruns.db`` and ``mlruns/``; or an address that MLflow knows, such as
        ``https://mlflow.example.org``.
    settings
        By name; they become parameters, ``mixing#levels`` under the name ``mixing.levels``.
    name_file
        Keeps the name of the training's run, with which a resumed training goes on.

    Raises
    ------
    InvalidOptionError
        If MLflow, or what its database needs, is not installed.
    """

    def __init__(self, place: str, settings: Mapping[str, Any], name_file: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reports its use to its makers otherwise
        for name in ("mlflow", "alembic"):  # which say on stderr that they make tables
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            import mlflow  # noqa: F401
            import sqlalchemy  # noqa: F401
        except ModuleNotFoundError as err:
            raise InvalidOptionError(
                f"--training_run#mlflow needs {err.name}, which is not installed: pip install 'monai-spine[tracking]'"
            ) from err
        self.options: dict[str, Any] = {"tracking_uri": place, "experiment_name": EXPERIMENT}
        if "://" not in place:
            local = Path(place).absolute()
            local.mkdir(parents=True, exist_ok=True)
            self.options["tracking_uri"] = f"sqlite:///{local / 'mlruns.db'}"
            self.options["artifact_location"] = (local / "mlruns").as_uri()
        self.name_file = name_file
        # MLflow forbids "#" in names
        self.settings = {name.replace("#", "."): str(value)[:_LONGEST] for name, value in settings.items()}

    def attach(self, evaluator: Engine, trainer: Engine) -> None:
        """Log both engines to one run; processes but the first log nothing."""
        if idist.get_rank() > 0:
            return
        # MONAI's handler finds a run by its name, and two trainings can start in one second
        if not self.name_file.is_file():
            write_text(self.name_file, f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}\n")
        self.options["run_name"] = self.name_file.read_text(encoding="utf-8").strip()
        of_training = MLFlowHandler(
            **self.options,
            iteration_log=lambda engine, iteration: (
                iteration % _EVERY == 1 or iteration % (engine.state.epoch_length or 1) == 0
            ),
            epoch_log=False,
            output_transform=_loss,
            tag_name="loss/training",
            experiment_param=self.settings,
            close_on_complete=True,
        )
        if _reopened(of_training.client, self.options["run_name"]):
            of_training.experiment_param = None  # MLflow lets no setting be changed
        of_training.attach(trainer)
        # The run is found by its name, so that the figures of validations come to the losses of the training.
        _OfValidation(**self.options, iteration_log=False, global_epoch_transform=lambda _: trainer.state.epoch).attach(
            evaluator
        )


class _OfValidation(MLFlowHandler):
    """Logs the figures of a validation that are finite numbers, under TensorBoard's names."""

    def _default_epoch_log(self, engine: Engine) -> None:
        figures = {tag_of(name): float(value) for name, value in engine.state.metrics.items() if is_scalar(value)}
        known = {name: value for name, value in figures.items() if math.isfinite(value)}
        self._log_metrics(known, step=self.global_epoch_transform(engine.state.epoch))


def _reopened(client: Any, name: str) -> bool:
    """Whether there is a run of this name, which then runs again: MONAI's handler passes over a finished one."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'") if experiment else []
    for run in runs:
        client.update_run(run.info.run_id, "RUNNING")
    return bool(runs)


def _loss(output: Any) -> float:
    first = output[0] if isinstance(output, list) else output  # of decollated items each holds the batch's loss
    return float(torch.as_tensor(first["loss"]).detach())
