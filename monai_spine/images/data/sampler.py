"""Which images an epoch sees, in which order: the same for a seed and an epoch, whoever resumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
from torch.utils.data import DistributedSampler

from monai_spine.images.data.datalist import Record
from monai_spine.images.training.frequencies import draw_weights


class EpochSampler(DistributedSampler[Any]):
    """Places of the images of an epoch, shuffled, and shared out among the processes.

    MONAI's engines tell it the epoch.

    Parameters
    ----------
    records
        What is drawn from.
    classes
        How many there are.
    balanced
        Whether to draw with replacement so that classes come equally often; else each image comes once.
    seed
        Of the order.
    """

    def __init__(self, records: Sequence[Record], *, classes: int, balanced: bool = False, seed: int = 0) -> None:
        super().__init__(
            records,  # type: ignore[arg-type]
            num_replicas=idist.get_world_size(),
            rank=idist.get_rank(),
            seed=seed,
        )
        self._weights = draw_weights(records, classes) if balanced else None
        self._count = len(records)

    def __iter__(self) -> Iterator[int]:
        """The process's share of the epoch; all have the same number, for which the first images come twice."""
        drawn = np.random.default_rng((self.seed, self.epoch))
        order = (
            drawn.permutation(self._count)
            if self._weights is None
            else drawn.choice(self._count, size=self._count, p=self._weights)
        )
        padded = np.resize(order, self.total_size)
        return iter(padded[self.rank :: self.num_replicas].tolist())
