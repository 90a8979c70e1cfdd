"""Keeps the weights of the best validation, and ends training when nothing improves any more."""

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric

from monai_spine.bundle.model_description import ModelDescription, write_description
from monai_spine.errors import InvalidOptionError
from monai_spine.scoring.competition import against_prior
from monai_spine.weights import save_atomically
from monai_spine.weights_checksum import stored_digest

logger = logging.getLogger(__name__)


class BestModel:
    """Writes the network's ``state_dict`` whenever a figure of an evaluator is the best so far.

    The best figure and its epoch are part of the run's state (`state_dict`): without them the first validation of a
    resumed run would count as the best, and overwrite a better model.

    Parameters
    ----------
    network
        The network whose weights are kept; the bare one where another wraps it for several processes.
    path
        The file of the weights.
    key_metric
        Name of the evaluator's figure.
    patience
        Epochs without improvement after which training ends; 0 never ends it.
    higher_is_better
        Whether more of the figure is better, as of an accuracy; else less is better, as of a loss.
    """

    def __init__(
        self,
        *,
        network: torch.nn.Module,
        path: str,
        key_metric: str = "score",
        patience: int = 0,
        higher_is_better: bool = False,
    ) -> None:
        self.network = network
        self.path = Path(path)
        self.key_metric = key_metric
        self.patience = patience
        self.description = ModelDescription()
        """Written beside the weights."""
        self._sign = -1 if higher_is_better else 1
        self.best = self._sign * math.inf
        self.best_epoch = 0

    def check(self, evaluator: Engine) -> None:
        """Raises `InvalidOptionError` if metrics are attached to the evaluator, but none that gives the figure."""
        figures = sorted(_figures(evaluator))
        if figures and self.key_metric not in figures:
            raise InvalidOptionError(
                f"expected best_model#key_metric as one of {', '.join(figures)}, but found {self.key_metric!r}"
            )

    def attach(self, evaluator: Engine, trainer: Engine) -> None:
        """Compare the figure whenever the evaluator has run inside the trainer."""
        evaluator.add_event_handler(Events.COMPLETED, self._compare, trainer)
        trainer.add_event_handler(Events.COMPLETED, self._report, evaluator)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers only: a numpy number would make the file unreadable with ``weights_only=True``."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a run stopped."""
        self.best = float(state["best"])
        self.best_epoch = int(state["best_epoch"])

    def _compare(self, evaluator: Engine, trainer: Engine) -> None:
        figure, epoch = float(evaluator.state.metrics[self.key_metric]), trainer.state.epoch
        # comparing a figure that is not a number is False: such an epoch is never the best
        if self._sign * figure < self._sign * self.best:
            self.best, self.best_epoch = figure, epoch
            if idist.get_rank() == 0:
                save_described(self.network.state_dict(), self.path, self.description)
            logger.info("epoch %d: %s %.4f is the best so far", epoch, self.key_metric, figure)
        elif math.isnan(figure):
            logger.warning("epoch %d: %s is not defined for these studies; too few labels?", epoch, self.key_metric)
        if 0 < self.patience <= epoch - self.best_epoch:
            logger.info("epoch %d: no better %s since epoch %d, training ends", epoch, self.key_metric, self.best_epoch)
            trainer.terminate()

    def _report(self, evaluator: Engine) -> None:
        if not self.best_epoch:
            logger.warning("%s was defined after no epoch: %s was not written", self.key_metric, self.path)
            return
        direction = "higher" if self._sign < 0 else "lower"
        where = (self.key_metric, self.best, direction, self.best_epoch, self.path)
        logger.info("best %s %.4f (%s is better) in epoch %d: %s", *where)
        # the prior of the training studies has one score on the validation studies, whatever the epoch
        prior = evaluator.state.metrics.get(f"{self.key_metric}_of_prior")
        if prior is not None:
            level = logging.INFO if self.best < prior else logging.WARNING
            logger.log(level, "the %s is %s", self.key_metric, against_prior(self.best, float(prior)))


def _figures(evaluator: Engine) -> Iterator[str]:
    """The names of the figures that the metrics of an evaluator give, whose engine keeps no list of them."""
    for handlers in evaluator._event_handlers.values():
        for handler, arguments, _ in handlers:
            metric: Any = getattr(handler, "__self__", None)
            if isinstance(metric, Metric) and handler.__name__ == "completed":
                # a metric of one figure was attached under its name; Ignite's metrics have any attribute
                names: Any = metric.figures if hasattr(type(metric), "figures") else (arguments[-1],)
                yield from names


def save_described(content: Any, weights: Path, description: ModelDescription) -> None:
    """Save weights, whole or not at all, so that at every moment the description beside them is theirs."""
    save_atomically(content, weights, before=lambda partial: describe(weights, description, partial))
    describe(weights, description)


def describe(weights: Path, description: ModelDescription, *coming: Path) -> None:
    """Write the description of the weights that are there, if any, and of files that will take their place."""
    digests = tuple(stored_digest(file) for file in (*coming, weights) if file.is_file())
    write_description(weights, dataclasses.replace(description, sha256=digests))
