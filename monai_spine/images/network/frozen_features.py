"""Features of the images of a dataset, by a backbone that never learns."""

import logging

import ignite.distributed as idist
import numpy as np
import torch

from monai_spine.console import track
from monai_spine.errors import counted
from monai_spine.images.data.dataset import ImageBatches, scaled
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.training.inferers import MixedPrecisionInferer

logger = logging.getLogger(__name__)


class FrozenFeatures:
    """The features of all images of a dataset: the input of a classifier's head.

    The first read computes them; by then the backbone has its weights. Each process computes a share of them.

    ``network``: the classifier itself, not a wrapper for distributed training.
    ``device``: where to compute the features; they are kept on the CPU.
    ``amp``: whether to compute in bfloat16.
    ``progress``: whether to draw a progress bar.
    """

    def __init__(
        self,
        network: ImageClassifier,
        dataset: ImageBatches,
        *,
        device: torch.device,
        batch_size: int = 32,
        amp: bool = False,
        progress: bool = False,
    ) -> None:
        self.network, self.dataset = network, dataset
        self.device, self.batch_size, self.amp, self.progress = device, batch_size, amp, progress
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
        progress = track(batches, "computing features", len(batches), quiet=not self.progress)
        parts = [self._of_batch(batch) for batch in progress]
        self.network.train(was_training)
        # With fewer images than processes, some processes have none.
        features = torch.cat(parts) if parts else torch.zeros(0, self.network.backbone.features)
        logger.info("features of %s computed once", counted(len(self.dataset), "image"))
        return features if world == 1 else _gathered(features, world)

    def _of_batch(self, positions: np.ndarray) -> torch.Tensor:
        image = self.dataset.__getitems__(list(positions))["image"].to(self.device)
        return self.inferer(scaled(image), self.network.features).cpu()


def features_of(features: FrozenFeatures | None, dataset: ImageBatches) -> FrozenFeatures | None:
    """The features of another dataset, by the same network on the same device; None for None."""
    if features is None:
        return None
    settings = {name: getattr(features, name) for name in ("device", "batch_size", "amp", "progress")}
    return FrozenFeatures(features.network, dataset, **settings)


def _gathered(features: torch.Tensor, world: int) -> torch.Tensor:
    parts: list[torch.Tensor] = [features] * world
    torch.distributed.all_gather_object(parts, features)
    return torch.cat(parts)
