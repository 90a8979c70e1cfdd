"""MONAI's DynUNet as the 3-D design beside `SliceUNet`: kernels that know slices lie far apart."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets import DynUNet

from monai_spine.levels.sagittal.slice_unet import RARE


class VolumeUNet(DynUNet):
    """A `DynUNet` that begins, as `SliceUNet` does, with the answer that landmarks are rare.

    Takes what `DynUNet` takes. Logits ``(batch, out_channels, x, y / 2, z / 2)`` of images ``(batch, in_channels, x, y,
    z)`` with strides that begin with ``(1, 2, 2)``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, values in self.output_block.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.constant_(values, RARE)
