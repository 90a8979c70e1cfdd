"""From a stored batch to what a network takes: floating point, augmented, mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from monai_spine.images.data.dataset import scaled
from monai_spine.images.training.augmentation import PRESETS, ImageAugmentation
from monai_spine.images.training.frozen_features import FrozenFeatures
from monai_spine.images.training.mixing import ImageMixing


class BatchPreparation:
    """What MONAI's engines take as ``prepare_batch``, over batches of an `ImageDataset`.

    Parameters
    ----------
    augmentation
        Of the images; None for none.
    mixing
        Of images and labels of a batch; None for none.
    features
        Of a backbone that does not learn: the batch's features then stand in for its images.
    """

    def __init__(
        self,
        *,
        augmentation: ImageAugmentation | None = None,
        mixing: ImageMixing | None = None,
        features: FrozenFeatures | None = None,
    ) -> None:
        self.augmentation = augmentation or PRESETS["none"]
        self.mixing, self.features = mixing, features

    def __call__(
        self, batch: Mapping[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``image`` ``(batch, channels, rows, columns)`` of 0 to 1, or features; and ``label``, on the device."""
        label = batch["label"].to(device=device, non_blocking=non_blocking)
        if self.features is not None:
            return self.features.take(batch["index"]).to(device=device, non_blocking=non_blocking), label
        image = self.augmentation(scaled(batch["image"].to(device=device, non_blocking=non_blocking)))
        return (image, label) if self.mixing is None else self.mixing(image, label)
