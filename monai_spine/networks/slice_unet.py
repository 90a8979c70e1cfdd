"""A 2.5-D U-Net: every slice is seen in 2-D, and deep down the slices speak with their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

_RARE = -4.0
"""Logit that every map starts from: what is looked for is rare (Lin et al. 2017, arXiv:1708.02002, section 4.1)."""

_GROUPS = 8
"""Groups of channels that are normalised together, slice by slice: images of a batch differ in contrast so much that
statistics of a batch, or averages of them, fit none."""


class SliceUNet(nn.Module):
    """Maps of landmarks and regions from a stack of sagittal slices of any number and size.

    Convolutions are 2-D in the slices, which are three or more times thicker than their pixels; in the two deepest
    stages a convolution across three slices follows each block. All stages but the stem's are residual (He et al.
    2016, arXiv:1603.05027); the way up adds the skips instead of concatenating them.

    Parameters
    ----------
    in_channels, out_channels
        Of a voxel; the maps are logits.
    channels
        Features of each stage. The stem halves rows and columns, and so does each further stage.
    mixed
        How many of the deepest stages look across slices.

    Raises
    ------
    ValueError
        If ``mixed`` is negative or more than there are stages.
    """

    def __init__(
        self, *, in_channels: int = 1, out_channels: int, channels: Sequence[int] = (24, 48, 96, 128), mixed: int = 2
    ) -> None:
        super().__init__()
        if not 0 <= mixed <= len(channels):
            raise ValueError(f"expected mixed from 0 to {len(channels)}, but given {mixed}")
        first = channels[0]
        self.stem = _normed(nn.Conv2d(in_channels, first, 5, stride=2, padding=2, bias=False))
        across = [n >= len(channels) - mixed for n in range(len(channels))]
        self.down = nn.ModuleList(_Stage(features, mix) for features, mix in zip(channels, across, strict=True))
        steps = list(pairwise(channels))
        self.shrink = nn.ModuleList(
            _normed(nn.Conv2d(fine, coarse, 3, stride=2, padding=1, bias=False)) for fine, coarse in steps
        )
        self.rise = nn.ModuleList(_normed(nn.Conv2d(coarse, fine, 1, bias=False)) for fine, coarse in reversed(steps))
        self.up = nn.ModuleList(
            _Stage(features, mix) for features, mix in zip(channels[-2::-1], across[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(first, out_channels, 1)
        if self.head.bias is not None:
            nn.init.constant_(self.head.bias, _RARE)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # 1.4 times as fast to train on a CPU as the usual layout
                module.to(memory_format=torch.channels_last)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, out_channels, x, y / 2, z / 2)`` of images ``(batch, in_channels, x, y, z)``.

        ``x`` counts the slices. Halves are rounded up.
        """
        batch, slices = image.shape[0], image.shape[2]
        features = self.stem(image.transpose(1, 2).flatten(0, 1))
        skips = []
        for stage, shrink in zip(self.down, self.shrink, strict=False):  # the deepest stage shrinks no further
            skips.append(stage(features, slices))
            features = shrink(skips[-1])
        features = self.down[-1](features, slices)
        for rise, stage in zip(self.rise, self.up, strict=True):
            skip = skips.pop()
            risen = nn.functional.interpolate(rise(features), size=skip.shape[-2:], mode="bilinear")
            features = stage(skip + risen, slices)
        maps = self.head(features)
        return maps.unflatten(0, (batch, slices)).transpose(1, 2)


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, _norm(convolution.out_channels), nn.ReLU(inplace=True))


def _norm(features: int) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, features)


class _Stage(nn.Module):
    """Two 3 x 3 convolutions in the slices, then at will one across three slices, each with a shortcut."""

    def __init__(self, features: int, mix: bool) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            _normed(nn.Conv2d(features, features, 3, padding=1, bias=False)),
            nn.Conv2d(features, features, 3, padding=1, bias=False),
            _norm(features),
        )
        self.across = _Across(features) if mix else None

    def forward(self, features: torch.Tensor, slices: int) -> torch.Tensor:
        """Features ``(batch * slices, features, rows, columns)`` of the same shape."""
        features = torch.relu(features + self.inside(features))
        return features if self.across is None else self.across(features, slices)


class _Across(nn.Module):
    """A convolution across three neighbouring slices, added to the features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mix = nn.Conv3d(features, features, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.norm = _norm(features)

    def forward(self, features: torch.Tensor, slices: int) -> torch.Tensor:
        """As `_Stage.forward`."""
        stacks = features.unflatten(0, (-1, slices)).transpose(1, 2)
        mixed = torch.relu(stacks + self.norm(self.mix(stacks)))
        return mixed.transpose(1, 2).flatten(0, 1)
