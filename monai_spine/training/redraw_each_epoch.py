"""New items every epoch, for a dataset that draws its items."""

from __future__ import annotations

from typing import Protocol

from ignite.engine import Engine, Events


class DrawnDataset(Protocol):
    """A dataset whose items depend on the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Take the items of this epoch."""


class RedrawEachEpoch:
    """Sets a dataset's epoch to the trainer's when an epoch begins, also after a resume.

    Parameters
    ----------
    dataset
        Such as `data_prep.phantom.randomised.RandomisedSpines`. Workers of a data loader hold a copy of it, so they
        must not outlive an epoch.
    """

    def __init__(self, dataset: DrawnDataset) -> None:
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._redraw)

    def _redraw(self, engine: Engine) -> None:
        self.dataset.set_epoch(engine.state.epoch)
