"""Features of a frozen backbone, computed once for all images, so that an epoch only runs the head."""

from __future__ import annotations

import logging

import ignite.distributed as idist
import numpy as np
import torch

from monai_spine.console import track
from monai_spine.images.data.dataset import ImageDataset, scaled
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.training.inferers import MixedPrecisionInferer

logger = logging.getLogger(__name__)


class FrozenFeatures:
    """The features of all images of a dataset: the input of a classifier's head.

    The first read computes them; by then the backbone has its weights. Each process computes a share of them.

    Parameters
    ----------
    network
        The classifier itself, not a wrapper for distributed training.
    dataset
        The images.
    device
        Where to compute the features; they are kept on the CPU.
    batch_size
        Number of images that are computed together.
    amp
        Whether to compute in bfloat16.
    quiet
        Whether to show no progress.
    """

    def __init__(
        self,
        network: ImageClassifier,
        dataset: ImageDataset,
        *,
        device: torch.device,
        batch_size: int = 32,
        amp: bool = False,
        quiet: bool = True,
    ) -> None:
        self.network, self.dataset = network, dataset
        self.device, self.batch_size, self.quiet = device, batch_size, quiet
        self.inferer = MixedPrecisionInferer(amp)
        self._features: torch.Tensor | None = None

    def read(self, index: torch.Tensor) -> torch.Tensor:
        """Features ``(batch, features)``, float32, of the images at these positions of the dataset ``(batch,)``."""
        if self._features is None:
            self._features = self._compute()
        return self._features[index]

    @torch.no_grad()
    def _compute(self) -> torch.Tensor:
        rank, world = idist.get_rank(), idist.get_world_size()
        # Contiguous shares: put together in the order of the processes, they are the dataset.
        shares = np.array_split(np.arange(len(self.dataset)), world)
        was_training = self.network.training
        self.network.eval()
        share = shares[rank]
        batches = [share[n : n + self.batch_size] for n in range(0, len(share), self.batch_size)]
        progress = track(batches, "computing features", len(batches), quiet=self.quiet)
        parts = [self._of_batch(batch) for batch in progress]
        self.network.train(was_training)
        # With fewer images than processes, some processes have none.
        features = torch.cat(parts) if parts else torch.zeros(0, self.network.backbone.features)
        logger.info("features of %d images computed once", len(self.dataset))
        return features if world == 1 else _gathered(features, world)

    def _of_batch(self, positions: np.ndarray) -> torch.Tensor:
        image = self.dataset.__getitems__(list(positions))["image"].to(self.device)
        return self.inferer(scaled(image), self.network.features).cpu()


def _gathered(features: torch.Tensor, world: int) -> torch.Tensor:
    parts: list[torch.Tensor] = [features] * world
    torch.distributed.all_gather_object(parts, features)
    return torch.cat(parts)
