"""The only flip there is: left and right exchanged in the image and in the labels at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import MapTransform, RandomizableTransform

from monai_spine.spine import MIRROR


class RandLateralFlipd(RandomizableTransform, MapTransform):
    """Mirror a study left to right with probability ``prob``, and its 25 labels with it.

    The image is ``(channels, R, A, S)``, its first spatial axis the patient's left-right axis; the label ``(25,)``
    follows `monai_spine.spine.FINDINGS`, so that a left finding becomes the right one of its level.
    """

    def __init__(self, *, image_key: str = "image", label_key: str = "label", prob: float = 0.5) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, keys=(image_key, label_key))
        self.image_key = image_key
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw, and mirror or not."""
        self.randomize(None)
        return mirrored(data, self.image_key, self.label_key) if self._do_transform else dict(data)


def mirrored(data: Mapping[Hashable, Any], image_key: str = "image", label_key: str = "label") -> dict[Hashable, Any]:
    """The record with image and label mirrored left to right."""
    flipped = torch.flip(data[image_key], dims=(1,))
    return {**data, image_key: flipped, label_key: data[label_key][list(MIRROR)]}
