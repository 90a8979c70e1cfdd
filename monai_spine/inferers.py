"""How a network is run inside an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer


class MixedPrecisionInferer(Inferer):
    """Runs the whole input through the network, in bfloat16 where that is safe, and gives float32 back.

    MONAI's own ``amp`` is float16 on CUDA and does nothing on a CPU. bfloat16 needs no gradient scaling and works on
    both; GPUs older than NVIDIA's Ampere emulate it slowly.

    Parameters
    ----------
    enabled
        False runs in the input's own precision.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Logits of a batch."""
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.enabled):
            return network(inputs, *args, **kwargs).float()
