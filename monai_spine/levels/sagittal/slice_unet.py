"""A 2.5-D U-Net: every slice is seen in 2-D, and deep down the slices speak with their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import batch_norm, interpolate

RARE = -4.0
"""Logit that every map starts from: what is looked for is rare (Lin et al. 2017, arXiv:1708.02002, section 4.1)."""


class SliceUNet(nn.Module):
    """Maps of landmarks and regions from stacks of sagittal slices, of any number and size.

    Convolutions are 2-D in the slices, which are three or more times thicker than their pixels; in the two deepest
    stages a convolution across three slices follows each block. All stages are residual (He et al. 2016,
    arXiv:1603.05027); the way up adds the skips instead of concatenating them. Features are normalised over their own
    volume, in training as in use: volumes of a batch differ in contrast so much that statistics of a batch, or running
    averages of them, fit none.

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
        across = [n >= len(channels) - mixed for n in range(len(channels))]
        steps = list(pairwise(channels))
        self.stem = _normed(nn.Conv2d(in_channels, channels[0], 5, stride=2, padding=2, bias=False))
        self.first = _Stage(channels[0], across[0])
        self.down = nn.ModuleList(
            _Down(fine, coarse, mix) for (fine, coarse), mix in zip(steps, across[1:], strict=True)
        )
        self.up = nn.ModuleList(
            _Up(coarse, fine, mix) for (fine, coarse), mix in reversed(list(zip(steps, across[:-1], strict=True)))
        )
        self.head = nn.Conv2d(channels[0], out_channels, 1)
        for name, values in self.head.named_parameters():
            if name == "bias":
                nn.init.constant_(values, RARE)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # 1.4 times as fast to train on a CPU as the usual layout
                module.to(memory_format=torch.channels_last)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, out_channels, x, y / 2, z / 2)`` of images ``(batch, in_channels, x, y, z)``.

        ``x`` counts the slices. Halves are rounded up.
        """
        return torch.stack([self._maps(volume) for volume in image.unbind(0)])

    def _maps(self, volume: torch.Tensor) -> torch.Tensor:
        """Logits of one volume, the slices in the place of a batch on the way."""
        features = self.first(self.stem(volume.transpose(0, 1)))
        skips = [features]
        for step in self.down:
            features = step(features)
            skips.append(features)
        for n, step in enumerate(self.up):
            features = step(features, skips[len(skips) - 2 - n])
        return self.head(features).transpose(0, 1)


class _VolumeNorm(nn.Module):
    """Batch normalisation whose batch is the slices of one volume, always."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of the same shape, each channel with its own scale and offset."""
        if not torch.jit.is_scripting():  # noqa: SIM102
            if torch.onnx.is_in_onnx_export():  # nested, since TorchScript cannot compile it
                return self._spelt_out(features)
        return batch_norm(features, None, None, self.weight, self.bias, training=True)

    def _spelt_out(self, features: torch.Tensor) -> torch.Tensor:
        """The same for ONNX, which has no batch normalisation of a batch."""
        mean = features.mean(dim=(0, 2, 3), keepdim=True)
        spread = torch.sqrt((features - mean).square().mean(dim=(0, 2, 3), keepdim=True) + 1e-5)
        return (features - mean) / spread * self.weight[:, None, None] + self.bias[:, None, None]


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, _VolumeNorm(convolution.out_channels), nn.ReLU(inplace=True))


class _Stage(nn.Module):
    """Two 3 x 3 convolutions in the slices, then at will one across three slices, each with a shortcut."""

    def __init__(self, features: int, mix: bool) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            _normed(nn.Conv2d(features, features, 3, padding=1, bias=False)),
            nn.Conv2d(features, features, 3, padding=1, bias=False),
            _VolumeNorm(features),
        )
        self.across = _Across(features) if mix else nn.Identity()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features ``(slices, features, rows, columns)`` of the same shape."""
        return self.across(torch.relu(features + self.inside(features)))


class _Across(nn.Module):
    """A convolution across three neighbouring slices, added to the features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mix = nn.Conv3d(features, features, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.norm = _VolumeNorm(features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """As `_Stage.forward`."""
        mixed = self.mix(features.transpose(0, 1).unsqueeze(0)).squeeze(0).transpose(0, 1)
        return torch.relu(features + self.norm(mixed))


class _Down(nn.Module):
    """Half the rows and columns, then a stage."""

    def __init__(self, fine: int, coarse: int, mix: bool) -> None:
        super().__init__()
        self.shrink = _normed(nn.Conv2d(fine, coarse, 3, stride=2, padding=1, bias=False))
        self.stage = _Stage(coarse, mix)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of the coarser stage."""
        return self.stage(self.shrink(features))


class _Up(nn.Module):
    """Back to the size of a skip, the skip added, then a stage."""

    def __init__(self, coarse: int, fine: int, mix: bool) -> None:
        super().__init__()
        self.rise = _normed(nn.Conv2d(coarse, fine, 1, bias=False))
        self.stage = _Stage(fine, mix)

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Features of the finer stage.

        A coarse row always spans two fine ones, and one that juts out is cut off: stretched to fit, the maps of images
        whose size is not a multiple of 16 would lie millimetres beside what they show.
        """
        risen = interpolate(self.rise(features), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.stage(skip + risen[..., : skip.shape[-2], : skip.shape[-1]])
