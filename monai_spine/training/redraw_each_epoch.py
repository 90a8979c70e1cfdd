"""New items every epoch, for a dataset that draws them."""

from __future__ import annotations

from typing import Protocol

from ignite.engine import Engine, Events


class Drawn(Protocol):
    """A dataset whose items depend on the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Move on to the items of an epoch."""


class FreshItems:
    """Tells a dataset the trainer's epoch when it begins, also after a resume.

    Parameters
    ----------
    dataset
        Such as `data_prep.phantom.randomised.RandomisedSpines`; workers of a data loader must not outlive an epoch.
    """

    def __init__(self, dataset: Drawn) -> None:
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._tell)

    def _tell(self, engine: Engine) -> None:
        self.dataset.set_epoch(engine.state.epoch)
