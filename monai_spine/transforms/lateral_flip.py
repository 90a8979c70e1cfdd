"""The only flip of whole studies: left and right are exchanged in the image and in the labels at once.

It follows `StudyGridd`; `LevelCropsd` has the same flip of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import MapTransform, RandomizableTransform

from monai_spine.spine import FLIPPED


class RandLateralFlipd(RandomizableTransform, MapTransform):
    """Flip a study along the patient's left-right axis with probability ``prob``, and its 25 labels with it.

    Expects ``image`` ``(channels, R, A, S)``, whose first spatial axis is the patient's left-right axis, and ``label``
    ``(25,)`` in the order of `monai_spine.spine.FINDINGS`: a left finding becomes the right one of its level.
    """

    def __init__(self, *, prob: float = 0.5) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, keys=("image", "label"))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw, and flip or not."""
        self.randomize(None)
        return flipped(data) if self._do_transform else dict(data)


def flipped(data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """The record with ``image`` and ``label`` flipped left to right."""
    image, label = torch.flip(data["image"], dims=(1,)), data["label"][list(FLIPPED)]
    return {**data, "image": image, "label": label}
