"""Features of a backbone that does not learn, computed once for all images."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import ignite.distributed as idist
import numpy as np
import torch

from monai_spine.console import track
from monai_spine.images.data.dataset import ImageDataset, scaled
from monai_spine.images.training.classifier import ImageClassifier
from monai_spine.training.inferers import MixedPrecisionInferer

logger = logging.getLogger(__name__)


class FrozenFeatures:
    """The features of all images of a dataset, as a classifier's head gets them.

    They are computed when they are first asked for, so after the backbone has its weights; every process computes its
    share.

    Parameters
    ----------
    network
        The bare one.
    dataset
        Of the images.
    device
        Where to compute them; they are held on the CPU.
    batch_size
        Images at a time.
    amp
        Whether in bfloat16.
    quiet
        Whether to say nothing of the progress.
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
        self._held: torch.Tensor | None = None

    def take(self, index: torch.Tensor) -> torch.Tensor:
        """Features ``(batch, features)`` of the images at these places of the dataset."""
        if self._held is None:
            self._held = self._computed()
        return self._held[index]

    @torch.no_grad()
    def _computed(self) -> torch.Tensor:
        rank, world = idist.get_rank(), idist.get_world_size()
        shares = np.array_split(np.arange(len(self.dataset)), world)
        was_training = self.network.training
        self.network.eval()
        found = [self._of(batch) for batch in track(*self._batches(shares[rank]), quiet=self.quiet)]
        self.network.train(was_training)
        features = torch.cat(found) if found else torch.zeros(0, self.network.backbone.features)
        logger.info("features of %d images computed once", len(self.dataset))
        return features if world == 1 else _joined(features, world)

    def _batches(self, places: np.ndarray) -> tuple[list[np.ndarray], str, int]:
        parts = [places[n : n + self.batch_size] for n in range(0, len(places), self.batch_size)]
        return parts, "computing features", len(parts)

    def _of(self, places: Sequence[int] | np.ndarray) -> torch.Tensor:
        image = self.dataset.__getitems__(list(places))["image"].to(self.device)
        return self.inferer(scaled(image), self.network.features).cpu()


def _joined(features: torch.Tensor, world: int) -> torch.Tensor:
    parts: list[torch.Tensor] = [features] * world
    torch.distributed.all_gather_object(parts, features)
    return torch.cat(parts)
