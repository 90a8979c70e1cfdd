"""How a network is run inside an engine."""

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn

from monai_spine.errors import InvalidOptionError


class MixedPrecisionInferer(Inferer):
    """Runs the whole input through the network, in bfloat16 if asked to, and gives float32 back.

    MONAI's own ``amp`` is float16 on CUDA and does nothing on a CPU. bfloat16 needs no gradient scaling and works on
    both; GPUs older than NVIDIA's Ampere emulate it slowly (see `monai_spine.bundle.process.has_bfloat16`).

    Parameters
    ----------
    enabled
        False runs in the input's own precision.

    Raises
    ------
    InvalidOptionError
        If ``enabled`` is no boolean, or a network with 3-D convolutions is to be *trained* in bfloat16 on a CPU: their
        weight gradients then come out as garbage of 1e33 now and then (measured with torch 2.15, oneDNN). Parts of a
        network with ``keeps_float32`` compute in float32 by themselves.
    """

    def __init__(self, enabled: bool = True) -> None:
        if not isinstance(enabled, bool):
            raise InvalidOptionError(f"expected amp as True or False, but found {enabled!r}; write --amp False")
        self.enabled = enabled

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Logits of a batch."""
        if self.enabled and inputs.device.type == "cpu" and torch.is_grad_enabled() and _convolves_in_3d(network):
            raise InvalidOptionError("3-D convolutions cannot be trained in bfloat16 on a CPU: train with --amp False")
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.enabled):
            return network(inputs, *args, **kwargs).float()


def _convolves_in_3d(part: object) -> bool:
    """Whether a part of a network would compute a 3-D convolution in bfloat16."""
    if not isinstance(part, nn.Module) or getattr(part, "keeps_float32", False):
        return False
    return isinstance(part, nn.Conv3d | nn.ConvTranspose3d) or any(map(_convolves_in_3d, part.children()))
