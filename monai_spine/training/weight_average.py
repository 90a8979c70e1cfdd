"""The moving average of a network's weights, short while training is young."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler

_YOUTH = 9
"""The average spans a tenth of the steps so far, until it spans what it is to: the
decay is min(1 - momentum, (1 + t) / (10 + t)) after t steps, as in TensorFlow's ``ExponentialMovingAverage``
with ``num_updates``."""


class WeightAverage(EMAHandler):
    """Ignite's `EMAHandler` with a momentum that begins near one and falls to its own.

    With a constant momentum of .005, half of the average is still the random start after 140 steps: a training of few
    steps then keeps weights that have learnt little, however good those are that it moves. The momentum follows from
    the trainer's iteration alone, so a resumed run has the same.
    """

    def attach(
        self,
        engine: Engine,
        name: str = "ema_momentum",
        warn_if_exists: bool = True,
        event: Any = Events.ITERATION_COMPLETED,
    ) -> None:
        """Listen to a trainer."""
        engine.add_event_handler(event, self._age, name)
        super().attach(engine, name, warn_if_exists, event)

    def _age(self, engine: Engine, name: str) -> None:
        setattr(engine.state, name, max(self.momentum, _YOUTH / (_YOUTH + engine.state.iteration)))
