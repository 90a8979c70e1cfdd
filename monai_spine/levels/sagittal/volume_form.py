"""`SliceUNet` in the form that other runtimes take: the same weights and answers, in operations on whole volumes.

In `SliceUNet` slices take the place of a batch, which PyTorch computes fastest. OpenVINO and ONNX Runtime have no batch
normalisation with the statistics of its batch; normalisation of each volume of a batch is their instance normalisation.
On one thread, 17 slices of 144 × 144 took OpenVINO 115 ms in this form, and 143 ms with the statistics spelled out.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate

from monai_spine.levels.sagittal.slice_unet import Across, DownStep, SliceUNet, Stage, Up, VolumeNorm


class VolumeForm(nn.Module):
    """A `SliceUNet` that takes and gives ``(batch, channels, x, y, z)`` in each of its operations.

    ``single``: whether every volume has one slice, which needs no repetition where slices are not mixed.
    """

    def __init__(self, network: SliceUNet, *, single: bool) -> None:
        super().__init__()
        self.stem, self.first = _turned(network.stem), _turned(network.first)
        self.down = nn.ModuleList(_turned(step) for step in network.down)
        self.up = nn.ModuleList(_turned(step) for step in network.up)
        self.head = _turned(network.head)
        self.least_slices = network.least_of(1) if single else network.least_slices
        # A point is the centre of mass of a map, so it moves with the rounding of the finest features: with all in
        # bfloat16, 99 of 100 points of 52 studies moved by less than .126 mm and two studies had other flags; with
        # these in float32 by less than .078 mm and none. 17 slices take 50 ms instead of 36, and 116 in float32.
        for part in () if single else (self.up[-1], self.head):
            part.keeps_float32 = True  # type: ignore[assignment]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """As `SliceUNet.forward`."""
        # Sizes stay tensors, so that a trace of this holds for any number of slices.
        count = torch._shape_as_tensor(image)[2]
        total = count.clamp(min=self.least_slices)
        first = (total - count) // 2
        if self.least_slices > 1:
            image = image.index_select(2, (_counted(total) - first).clamp(min=0).minimum(count - 1))
        features = self.first(self.stem(image))
        skips = [features]
        for step in self.down:
            features = step(features)
            skips.append(features)
        for n, step in enumerate(self.up):
            features = step(features, skips[-2 - n])
        maps: torch.Tensor = self.head(features)
        return maps.index_select(2, _counted(count) + first) if self.least_slices > 1 else maps


def _counted(size: torch.Tensor) -> torch.Tensor:
    """0, 1, … below a size that stays a tensor; PyTorch's annotations know numbers only."""
    return torch.arange(size)  # type: ignore[call-overload]


class _AcrossForm(nn.Module):
    def __init__(self, across: Across) -> None:
        super().__init__()
        self.mix, self.norm = across.mix, _turned(across.norm)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.relu(features + self.norm(self.mix(features)))


class _StageForm(nn.Module):
    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.inside, self.across = _turned(stage.inside), _turned(stage.across)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.across(torch.relu(features + self.inside(features)))
        return mixed


class _DownForm(nn.Module):
    def __init__(self, down: DownStep) -> None:
        super().__init__()
        self.shrink, self.stage = _turned(down.shrink), _turned(down.stage)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        coarse: torch.Tensor = self.stage(self.shrink(features))
        return coarse


class _UpForm(nn.Module):
    def __init__(self, up: Up) -> None:
        super().__init__()
        self.rise, self.stage = _turned(up.rise), _turned(up.stage)

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        risen = interpolate(self.rise(features), scale_factor=(1.0, 2.0, 2.0), mode="trilinear", align_corners=False)
        fine: torch.Tensor = self.stage(skip + risen[..., : skip.shape[-2], : skip.shape[-1]])
        return fine


_FORMS = {Across: _AcrossForm, Stage: _StageForm, DownStep: _DownForm, Up: _UpForm}


def _turned(module: nn.Module) -> nn.Module:
    """A part of a `SliceUNet` for volumes, with its weights."""
    for part, form in _FORMS.items():
        if isinstance(module, part):
            return form(module)
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*(_turned(one) for one in module))
    if isinstance(module, nn.Conv2d):
        return _convolution(module)
    if isinstance(module, VolumeNorm):
        norm = nn.InstanceNorm3d(len(module.weight), affine=True)
        norm.weight, norm.bias = module.weight, module.bias
        return norm
    return module


def _convolution(flat: nn.Conv2d) -> nn.Conv3d:
    def deep(size: tuple[int, ...], across: int) -> tuple[int, int, int]:
        return across, size[0], size[1]

    stride, padding = deep(flat.stride, 1), deep(flat.padding, 0)  # type: ignore[arg-type]
    made = nn.Conv3d(
        flat.in_channels, flat.out_channels, deep(flat.kernel_size, 1), stride, padding, bias=flat.bias is not None
    )
    made.weight = nn.Parameter(flat.weight.detach()[:, :, None].contiguous())
    made.bias = flat.bias
    return made
