"""What begins anew with every epoch: random numbers, from seed and epoch alone, and items that are drawn."""

import random
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from monai.transforms import Randomizable
from torch.utils.data import DataLoader


class ReseedEachEpoch:
    """Seeds every source of random numbers when an epoch begins, from the seed, the epoch and the process.

    These are Python's, NumPy's and torch's generators, those of MONAI's transforms, and those of the data loader, from
    which its workers get their seeds.

    Parameters
    ----------
    seed
        Of the training.
    dataloader
        Gives the training batches. None for none.
    """

    # The other design saves the state of all generators with the run. It must then know every generator: those of a
    # GPU, of each transform, and of a loader's workers, which end with the epoch. Here an epoch depends on nothing that
    # was drawn before it, so a resumed run draws what one that was never stopped would have drawn. Nothing is saved.

    def __init__(self, seed: int, dataloader: Any = None) -> None:
        self.seed, self.dataloader = seed, dataloader

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer. ignite makes the loader's iterator, which draws seeds of workers, after this event."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._reseed)

    def _reseed(self, engine: Engine) -> None:
        # SeedSequence spreads neighbouring seeds, epochs and ranks over all 32 bits; a sum would give epoch 1 of seed 1
        # the numbers of epoch 2 of seed 0.
        entropy = (self.seed % 2**32, engine.state.epoch, idist.get_rank())
        number = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)  # of all devices
        Randomizable.R.seed(number)  # which transforms share that were never seeded
        if isinstance(self.dataloader, DataLoader):
            if self.dataloader.generator is not None:
                self.dataloader.generator.manual_seed(number)
            set_rnd(self.dataloader.dataset, number)


@runtime_checkable
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
        must not outlive an epoch. Items that are the same in every epoch, such as the volumes of a datalist, stay as
        they are.
    """

    def __init__(self, dataset: DrawnDataset | Sequence[Any]) -> None:
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._redraw)

    def _redraw(self, engine: Engine) -> None:
        if isinstance(self.dataset, DrawnDataset):
            self.dataset.set_epoch(engine.state.epoch)
