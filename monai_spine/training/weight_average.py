"""The moving average of a network's weights, short while training is young."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler

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
