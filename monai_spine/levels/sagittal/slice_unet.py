"""Networks that draw maps of landmarks: a 2.5-D U-Net, and MONAI's DynUNet as the 3-D design it was compared with.

In `SliceUNet` convolutions are two-dimensional; at the coarsest scales a convolution across slices mixes neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from monai.networks.nets import DynUNet
from torch import nn
from torch.nn.functional import batch_norm, interpolate

_RARE_LOGIT = -4.0
"""Initial bias of the last layer. Landmarks are rare, so training starts from maps near 0 (Lin et al. 2017,
arXiv:1708.02002, section 4.1)."""

LEAST_SLICES = 12
"""Slices of the images in training. Features are normalised over the slices of a volume, so a slab of fewer slices has
other statistics: in five of twelve real slabs of 3 to 6 slices no spine was found, and in none with the outer slices
repeated to this number."""


def _with_edges_repeated(volume: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """A volume ``(channels, x, y, z)`` with its outer slices repeated."""
    slices = volume.shape[1]
    if before + after == 0:
        return volume
    return torch.cat(
        [
            volume[:, :1].expand(-1, before, -1, -1),
            volume,
            volume[:, slices - 1 :].expand(-1, after, -1, -1),
        ],
        dim=1,
    )


class SliceUNet(nn.Module):
    """Maps of landmarks and regions from stacks of sagittal slices, of any number and size.

    Convolutions are 2-D in the slices, which are three or more times thicker than their pixels. In the coarsest stages
    a convolution across three slices follows each block. All stages are residual (He et al. 2016, arXiv:1603.05027);
    the decoder adds the skips instead of concatenating them. Features are normalised over their own volume
    (`VolumeNorm`).

    ``in_channels``, ``out_channels``: channels of the images and of the maps, which are logits.
    ``channels``: Features of each stage. The stem halves rows and columns, and so does each further stage.
    ``mixed``: number of coarsest stages that mix neighbouring slices.
    Raises `ValueError` if ``mixed`` is negative or more than there are stages.
    """

    def __init__(
        self, *, in_channels: int = 1, out_channels: int, channels: Sequence[int] = (24, 48, 96, 128), mixed: int = 2
    ) -> None:
        super().__init__()
        if not 0 <= mixed <= len(channels):
            raise ValueError(f"expected mixed from 0 to {len(channels)}, but given {mixed}")
        self.least_slices = LEAST_SLICES  # TorchScript does not see names of the module
        self.mixes = mixed > 0
        across = [n >= len(channels) - mixed for n in range(len(channels))]
        steps = list(pairwise(channels))
        self.stem = _normed(nn.Conv2d(in_channels, channels[0], 5, stride=2, padding=2, bias=False))
        self.first = Stage(channels[0], across[0])
        self.down = nn.ModuleList(
            DownStep(fine, coarse, mix) for (fine, coarse), mix in zip(steps, across[1:], strict=True)
        )
        self.up = nn.ModuleList(
            Up(coarse, fine, mix) for (fine, coarse), mix in reversed(list(zip(steps, across[:-1], strict=True)))
        )
        self.head = nn.Conv2d(channels[0], out_channels, 1)
        for name, values in self.head.named_parameters():
            if name == "bias":
                nn.init.constant_(values, _RARE_LOGIT)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # 1.4 times as fast to train on a CPU as the usual layout
                module.to(memory_format=torch.channels_last)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, out_channels, x, y / 2, z / 2)`` of images ``(batch, in_channels, x, y, z)``.

        ``x`` counts the slices. Halves are rounded up.
        """
        return torch.stack([self._maps(volume) for volume in image.unbind(0)])

    def least_of(self, count: int) -> int:
        """To how many slices the outer ones of a volume of ``count`` slices are repeated."""
        # Copies of a single slice have its statistics; they cost 12 times the work in the recess localizer.
        return 1 if count == 1 and not self.mixes else self.least_slices

    def _maps(self, volume: torch.Tensor) -> torch.Tensor:
        """Logits of one volume; inside, the slices take the place of a batch."""
        count = volume.shape[1]
        missing = max(0, self.least_of(count) - count)
        first = missing // 2
        volume = _with_edges_repeated(volume, first, missing - first)
        features = self.first(self.stem(volume.transpose(0, 1)))
        skips = [features]
        for step in self.down:
            features = step(features)
            skips.append(features)
        for n, step in enumerate(self.up):
            features = step(features, skips[len(skips) - 2 - n])
        return self.head(features[first : first + count]).transpose(0, 1)


class VolumeUNet(DynUNet):
    """A `DynUNet` that starts from maps near 0, as `SliceUNet` does.

    It takes the parameters of `DynUNet`. Logits ``(batch, out_channels, x, y / 2, z / 2)`` of images ``(batch,
    in_channels, x, y, z)`` with strides that begin with ``(1, 2, 2)``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, values in self.output_block.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(values, _RARE_LOGIT)


class VolumeNorm(nn.Module):
    """Batch normalisation in which the batch is the slices of one volume, in training and in use.

    Volumes of a batch differ in contrast so much that common statistics fit none of them. On randomised contrasts,
    batch normalisation with running averages had .33 in evaluation where it had .96 with the statistics of the volume
    itself; GroupNorm, slice by slice, had found nothing after 600 steps.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of the same shape, each channel with its own scale and offset."""
        if not torch.jit.is_scripting():  # noqa: SIM102
            if torch.onnx.is_in_onnx_export():  # a separate if, since TorchScript cannot compile this condition
                return self._for_onnx(features)
        return batch_norm(features, None, None, self.weight, self.bias, training=True)

    def _for_onnx(self, features: torch.Tensor) -> torch.Tensor:
        """The same in single operations: ONNX has no batch normalisation with the statistics of its batch."""
        mean = features.mean(dim=(0, 2, 3), keepdim=True)
        spread = torch.sqrt((features - mean).square().mean(dim=(0, 2, 3), keepdim=True) + 1e-5)
        return (features - mean) / spread * self.weight[:, None, None] + self.bias[:, None, None]


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, VolumeNorm(convolution.out_channels), nn.ReLU(inplace=True))


class Stage(nn.Module):
    """Two 3 x 3 convolutions in the slices, then, if ``mix``, one across three slices, both parts with a shortcut."""

    def __init__(self, features: int, mix: bool) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            _normed(nn.Conv2d(features, features, 3, padding=1, bias=False)),
            nn.Conv2d(features, features, 3, padding=1, bias=False),
            VolumeNorm(features),
        )
        self.across = Across(features) if mix else nn.Identity()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features ``(slices, features, rows, columns)`` of the same shape."""
        return self.across(torch.relu(features + self.inside(features)))


class Across(nn.Module):
    """A convolution across three neighbouring slices, added to the features."""

    keeps_float32: bool = True
    """On a CPU it computes in float32 where its surroundings have bfloat16; see `MixedPrecisionInferer`."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mix = nn.Conv3d(features, features, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.norm = VolumeNorm(features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features ``(slices, features, rows, columns)`` of the same shape."""
        if not torch.jit.is_scripting():  # noqa: SIM102 - TorchScript cannot compile what follows
            if features.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
                with torch.autocast("cpu", enabled=False):
                    return self._mixed(features.float())
        return self._mixed(features)

    def _mixed(self, features: torch.Tensor) -> torch.Tensor:
        mixed = self.mix(features.transpose(0, 1).unsqueeze(0)).squeeze(0).transpose(0, 1)
        return torch.relu(features + self.norm(mixed))


class DownStep(nn.Module):
    """Halves rows and columns, then a stage."""

    def __init__(self, fine: int, coarse: int, mix: bool) -> None:
        super().__init__()
        self.shrink = _normed(nn.Conv2d(fine, coarse, 3, stride=2, padding=1, bias=False))
        self.stage = Stage(coarse, mix)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of the coarser stage."""
        return self.stage(self.shrink(features))


class Up(nn.Module):
    """Doubles rows and columns, adds the skip, then a stage."""

    def __init__(self, coarse: int, fine: int, mix: bool) -> None:
        super().__init__()
        self.rise = _normed(nn.Conv2d(coarse, fine, 1, bias=False))
        self.stage = Stage(fine, mix)

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Features of the finer stage."""
        # A coarse row always becomes two fine rows, and a surplus one is cut off. If coarse maps were stretched to the
        # size of the skip, maps of images whose size is not a multiple of 16 would be shifted: by up to 3 mm on grids
        # of 145 voxels.
        risen = interpolate(self.rise(features), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.stage(skip + risen[..., : skip.shape[-2], : skip.shape[-1]])
