"""The weights that are validated: a moving average, short while training is young, with batch statistics of its own."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_WARM_UP = 9
"""The average spans a tenth of the steps so far until it spans what its momentum says: the decay is
min(1 - momentum, (1 + t) / (10 + t)) after t steps, as in TensorFlow's ``ExponentialMovingAverage`` with
``num_updates``."""


class WeightAverage(EMAHandler):
    """Ignite's `EMAHandler` with a momentum that begins near one and falls to its own.

    The momentum follows from the trainer's iteration alone, so that a resumed run has the same.

    Parameters
    ----------
    model
        The network that learns.
    momentum
        Share of each step's weights in the average, once training is no longer young; with 0 there is no average, and
        ``ema_model`` is the network itself.
    """

    # With a constant momentum of .005, half of the average is still the random start after 140 steps. A short training
    # then keeps weights that have learnt little, however good the moving ones are: on phantoms, 22 % of the way from
    # prior to floor became 56 % with a momentum that falls.

    def __init__(self, model: torch.nn.Module, momentum: float) -> None:
        self.active = momentum != 0
        if self.active:
            super().__init__(model, momentum=momentum, handle_buffers="update")
        else:
            self.ema_model = model

    def attach(
        self,
        engine: Engine,
        name: str = "ema_momentum",
        warn_if_exists: bool = True,
        event: Any = Events.ITERATION_COMPLETED,
    ) -> None:
        """Update the average after each iteration of a trainer."""
        if self.active:
            engine.add_event_handler(Events.STARTED, self._begin)
            engine.add_event_handler(event, self._set_momentum, name)
            super().attach(engine, name, warn_if_exists, event)

    def _begin(self, engine: Engine) -> None:
        # The copy may have been made before the network got its prior or its pretrained weights. A resumed run, which
        # has an average, does not begin at iteration 0.
        if engine.state.iteration == 0:
            self.ema_model.load_state_dict(self.model.state_dict())

    def _set_momentum(self, engine: Engine, name: str) -> None:
        setattr(engine.state, name, max(self.momentum, _WARM_UP / (_WARM_UP + engine.state.iteration)))


_BATCHES = 20
"""How many batches to measure: at four studies of 95 slices a batch, some 7,600 pictures."""


class BatchStatistics:
    """Measures the statistics of a network's batch normalisations again before a validation.

    Averaged weights need statistics of their own (Izmailov et al. 2018, arXiv:1803.05407, section 3.2). A network
    without batch normalisation costs nothing. Several processes, each with batches of its own, end with the mean of
    their statistics.

    Parameters
    ----------
    network
        The one that is validated.
    learner
        The one that learns, of which ``network`` is a copy or the same: what stays in evaluation mode when it trains
        keeps its statistics (`LayerFreezing`).
    dataloader
        Gives training batches.
    prepare
        From a batch and a device to image, label and what may follow, as the trainer's ``prepare_batch``.
    """

    # The statistics that training gathers lag behind the moving weights, and belong to no average of them: with those,
    # a grader answered worse than its prior in the first epochs.

    def __init__(
        self, *, network: nn.Module, learner: nn.Module, dataloader: Iterable[Any], prepare: Callable[..., Any]
    ) -> None:
        self.network, self.learner, self.dataloader, self.prepare = network, learner, dataloader, prepare

    def attach(self, engine: Engine) -> None:
        """Measure before the validator runs."""
        engine.add_event_handler(Events.STARTED, self.renew)

    @torch.no_grad()
    def renew(self) -> None:
        """Measure now."""
        self.learner.train()  # in which layers that keep their statistics stay in evaluation mode
        layers = [
            module
            for name, module in self.network.named_modules()
            if isinstance(module, _BatchNorm) and self.learner.get_submodule(name).training
        ]
        if not layers:
            return
        device = next(self.network.parameters()).device
        momenta = [layer.momentum for layer in layers]
        self.network.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over batches, in place of a running average
            layer.train()  # these layers alone: dropout would change what they measure
        for batch in islice(self.dataloader, _BATCHES):
            image = self.prepare(batch, device)[0]
            self.network(image)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            _average_over_processes(layer)
        self.network.eval()


def _average_over_processes(layer: _BatchNorm) -> None:
    for statistic in (layer.running_mean, layer.running_var):
        if statistic is not None and idist.get_world_size() > 1:
            torch.distributed.all_reduce(statistic)
            statistic.div_(idist.get_world_size())
