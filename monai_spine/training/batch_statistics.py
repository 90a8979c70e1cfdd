"""Batch statistics for the weights that are validated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

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
    dataloader
        Gives training batches.
    prepare
        From a batch and a device to image and label, as the trainer's ``prepare_batch``.
    """

    # The statistics that training gathers lag behind the moving weights, and belong to no average of them: with those,
    # a grader answered worse than its prior in the first epochs.

    def __init__(self, *, network: nn.Module, dataloader: Iterable[Any], prepare: Callable[..., Any]) -> None:
        self.network, self.dataloader, self.prepare = network, dataloader, prepare

    def attach(self, engine: Engine) -> None:
        """Measure before the validator runs."""
        engine.add_event_handler(Events.STARTED, self.renew)

    @torch.no_grad()
    def renew(self) -> None:
        """Measure now."""
        layers = [module for module in self.network.modules() if isinstance(module, _BatchNorm)]
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
            image, _ = self.prepare(batch, device)
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
