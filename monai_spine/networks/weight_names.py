"""What others call the tensors of a network, as timm calls them."""

from __future__ import annotations

import re

import torch

Weights = dict[str, torch.Tensor]

_OURS = "backbone.body."
_CONVNEXT_LAYERS = {
    "block.0": "conv_dw",
    "block.2": "norm",
    "block.3": "mlp.fc1",
    "block.5": "mlp.fc2",
}


def timm_names(weights: Weights) -> Weights | None:
    """Weights under timm's names, if they are known to have others; None if they need no change.

    Known are torchvision's ConvNeXt, and a classifier of ours, whose backbone alone is taken. torchvision's ResNets are
    called as timm calls them.
    """
    if any(name.startswith(_OURS) for name in weights):
        return {name.removeprefix(_OURS): value for name, value in weights.items() if name.startswith(_OURS)}
    if "features.1.0.layer_scale" in weights:
        return dict(_convnext(name, value) for name, value in weights.items())
    return None


def _convnext(name: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
    """A tensor of torchvision's ConvNeXt: features 0 are the stem, odd ones stages, even ones what halves the size."""
    if name.startswith("classifier."):
        return name.replace("classifier.0.", "head.norm.").replace("classifier.2.", "head.fc."), value
    found = re.fullmatch(r"features\.(\d+)\.(\d+)\.(.+)", name)
    if not found:
        return name, value
    part, n, rest = int(found[1]), int(found[2]), found[3]
    if part == 0:
        return f"stem.{n}.{rest}", value
    if part % 2 == 0:
        return f"stages.{part // 2}.downsample.{n}.{rest}", value
    block = f"stages.{part // 2}.blocks.{n}"
    if rest == "layer_scale":
        return f"{block}.gamma", value.flatten()
    layer, _, kind = rest.rpartition(".")
    return f"{block}.{_CONVNEXT_LAYERS.get(layer, layer)}.{kind}", value
