"""Feature maps of timm's backbones, with positions: what Grad-CAM needs of them, whatever their layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from monai_spine.errors import InvalidOptionError

_LEAST_POSITIONS = 8


def has_class_token(body: Any) -> bool:
    """Whether positions reach the head only through a token that attends to them."""
    last = getattr(body, "blocks", [None])[-1]
    return getattr(body, "num_prefix_tokens", 0) > 0 and hasattr(last, "norm1")


def fine_layer(body: Any, pixels: tuple[int, int]) -> nn.Module | None:
    """The deepest layer of a timm network whose output has `_LEAST_POSITIONS` or more along the shorter side.

    The last layer of a convolutional network has 2 × 2 positions for a crop of 64 × 64 pixels, which shows nothing.
    None if no layer has so many, or timm does not list the network's layers.

    Parameters
    ----------
    pixels
        Rows and columns of a picture.
    """
    listed = getattr(body, "feature_info", None) or ()
    layers = [(str(one["module"]), int(one["reduction"])) for one in getattr(listed, "info", listed)]
    if has_class_token(body):
        # The patches that the last block gives do not reach the head.
        layers = layers[:-1]
    fine = [name for name, reduction in layers if min(pixels) // reduction >= _LEAST_POSITIONS]
    modules = dict(body.named_modules())
    return modules.get(fine[-1]) if fine else None


def as_map(body: Any, features: torch.Tensor, name: str) -> torch.Tensor:
    """Features as ``(batch, channels, rows, columns)``, whatever the backbone's layout.

    ``name`` is the backbone's, for the message.

    Raises
    ------
    InvalidOptionError
        If the features have no positions.
    """
    if features.ndim == 4:
        return features.permute(0, 3, 1, 2) if getattr(body, "output_fmt", "NCHW") == "NHWC" else features
    if features.ndim == 3:
        # Class and register tokens come first and have no position.
        tokens = features[:, getattr(body, "num_prefix_tokens", 0) :]
        rows, columns = _grid(body, tokens.shape[1])
        if rows * columns == tokens.shape[1] > 1:
            return tokens.transpose(1, 2).unflatten(2, (rows, columns))
    raise InvalidOptionError(f"expected a feature map of {name}, but its features are {tuple(features.shape)}")


def _grid(body: Any, tokens: int) -> tuple[int, int]:
    """Rows and columns of tokens: those of the patches, or a square if the backbone has merged patches."""
    rows, columns = getattr(getattr(body, "patch_embed", None), "grid_size", None) or (0, 0)
    side = round(tokens**0.5)
    return (int(rows), int(columns)) if rows * columns == tokens else (side, side)
