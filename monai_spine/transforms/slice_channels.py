"""Sagittal slices as channels, for two-dimensional networks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform


class SliceChannelsd(MapTransform):
    """Reshape ``(channels, R, A, S)`` to ``(channels * R, A, S)``: every sagittal slice of every channel a channel."""

    def __init__(self, keys: KeysCollection = "image") -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Reshape under each key."""
        return {**data, **{key: data[key].flatten(0, 1) for key in self.key_iterator(dict(data))}}
