"""Batch statistics that belong to the weights that are validated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class BatchStatistics:
    """Takes the statistics of a network's batch normalisations anew before a validator runs.

    Those that training gathers lag behind weights that move, and belong to no moving average of them: on the way they
    made a grader's answers worse than knowing nothing. Averaged weights need it (Izmailov et al. 2018,
    arXiv:1803.05407, section 3.2). A network without batch normalisation costs nothing. Several processes, each with
    batches of its own, end with the mean of what they found.

    Parameters
    ----------
    network
        The one that is validated.
    dataloader
        Of training batches.
    prepare
        From a batch and a device to image and label, as the trainer's ``prepare_batch``.
    batches
        How many to take.
    """

    def __init__(
        self, *, network: nn.Module, dataloader: Iterable[Any], prepare: Callable[..., Any], batches: int = 20
    ) -> None:
        self.network, self.dataloader, self.prepare, self.batches = network, dataloader, prepare, batches

    def attach(self, engine: Engine) -> None:
        """Listen to the validator."""
        engine.add_event_handler(Events.STARTED, self.renew)

    @torch.no_grad()
    def renew(self) -> None:
        """Take them now."""
        layers = [module for module in self.network.modules() if isinstance(module, _BatchNorm)]
        if not layers:
            return
        device = next(self.network.parameters()).device
        momenta = [layer.momentum for layer in layers]
        self.network.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over batches
            layer.train()
        for batch in islice(self.dataloader, self.batches):
            image, _ = self.prepare(batch, device)
            self.network(image)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            _share(layer)
        self.network.eval()


def _share(layer: _BatchNorm) -> None:
    """The mean over all processes."""
    for statistic in (layer.running_mean, layer.running_var):
        if statistic is not None and idist.get_world_size() > 1:
            torch.distributed.all_reduce(statistic)
            statistic.div_(idist.get_world_size())
