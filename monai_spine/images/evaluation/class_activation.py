"""Where a network looks when it says a class: Grad-CAM of any timm backbone, and its overlay on the image.

Selvaraju et al., Grad-CAM: Visual explanations from deep networks via gradient-based localization (2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from torch.nn import functional

from monai_spine.errors import InvalidOptionError
from monai_spine.images.training.classifier import ImageClassifier

_COLOURS = "inferno"
_OPACITY = 0.6
"""Of the overlay, where a map is greatest."""


def activation_maps(
    network: ImageClassifier, images: torch.Tensor, classes: torch.Tensor | None = None
) -> torch.Tensor:
    """What speaks for a class, pixel by pixel, as the last feature map that still has places knows it.

    That map is what the backbone pools, or, where a class token gathers the answer, the tokens that its last block
    attends to. The network is left as it was, gradients and all.

    Parameters
    ----------
    images
        ``(batch, channels, rows, columns)`` from 0 to 1, on the network's device.
    classes
        ``(batch,)``: which class each map is of; None takes the one with the greatest logit.

    Returns
    -------
    ``(batch, rows, columns)``, each from 0 to 1, its greatest value being 1 unless nothing speaks for the class.

    Raises
    ------
    InvalidOptionError
        If the backbone has no such map.
    """
    mode = network.training
    network.eval()
    try:
        with torch.enable_grad():
            found, logits = _features(network, images.detach().requires_grad_())
            chosen = logits.argmax(dim=1) if classes is None else classes.to(logits.device)
            score = logits.gather(1, chosen[:, None]).sum()
            (slope,) = torch.autograd.grad(score, found)
    finally:
        network.train(mode)
    body = network.backbone.body
    places, slopes = (_as_map(body, one.detach(), network.backbone.name) for one in (found, slope))
    maps = (slopes.mean(dim=(2, 3), keepdim=True) * places).sum(dim=1, keepdim=True).relu()
    maps = functional.interpolate(maps.float(), size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)


def overlay(image: npt.ArrayLike, activation: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """An image with its map over it, ``(rows, columns, 3)`` in RGB.

    Parameters
    ----------
    image
        ``(channels, rows, columns)``, as `shown` takes it.
    activation
        ``(rows, columns)`` from 0 to 1; the greater, the less of the image is seen through it.
    """
    strength = np.asarray(activation, dtype=np.float32)[..., None]
    colours = colormaps[_COLOURS](strength[..., 0])[..., :3] * 255
    mixed = shown(image) * (1 - _OPACITY * strength) + colours * _OPACITY * strength
    return np.asarray(mixed.round(), dtype=np.uint8)


def shown(image: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """An image for the eye, ``(rows, columns, 3)`` in RGB.

    Parameters
    ----------
    image
        ``(channels, rows, columns)``. One channel is grey, two are red and green, of more the first three are red,
        green and blue. From 0 to 1; any other range is stretched to it.
    """
    pixels = np.asarray(image, dtype=np.float32)
    if pixels.min() < 0 or pixels.max() > 1:
        pixels = (pixels - pixels.min()) / max(float(np.ptp(pixels)), 1e-6)
    grey = len(pixels) == 1
    colours = np.repeat(pixels, 3, axis=0) if grey else np.concatenate([pixels[:3], np.zeros_like(pixels[:1])])[:3]
    return np.asarray((np.moveaxis(colours, 0, -1) * 255).round(), dtype=np.uint8)


def _features(network: ImageClassifier, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The features that a map is made of, and the logits that come of them."""
    body: Any = network.backbone.body
    if not _has_class_token(body):
        features = body.forward_features((images - network.mean) / network.std)
        if not isinstance(features, torch.Tensor):
            raise InvalidOptionError(f"expected a feature map of {network.backbone.name}, but it makes several")
        return features, network.head(body.forward_head(features))
    kept: list[torch.Tensor] = []
    hook = body.blocks[-1].norm1.register_forward_hook(lambda *given: kept.append(given[-1]))
    try:
        logits = network(images)
    finally:
        hook.remove()
    return kept[0], logits


def _has_class_token(body: Any) -> bool:
    """Whether places speak to the head only through a token that attends to them."""
    last = getattr(body, "blocks", [None])[-1]
    return getattr(body, "num_prefix_tokens", 0) > 0 and hasattr(last, "norm1")


def _as_map(body: Any, features: torch.Tensor, name: str) -> torch.Tensor:
    """Features as ``(batch, channels, rows, columns)``, whichever way the backbone keeps them."""
    if features.ndim == 4:
        return features.permute(0, 3, 1, 2) if getattr(body, "output_fmt", "NCHW") == "NHWC" else features
    if features.ndim == 3:
        tokens = features[:, getattr(body, "num_prefix_tokens", 0) :]
        rows, columns = _grid(body, tokens.shape[1])
        if rows * columns == tokens.shape[1] > 1:
            return tokens.transpose(1, 2).unflatten(2, (rows, columns))
    raise InvalidOptionError(f"expected a feature map of {name}, but its features are {tuple(features.shape)}")


def _grid(body: Any, tokens: int) -> tuple[int, int]:
    """Rows and columns of tokens: those of the patches, or a square where the backbone merges them."""
    rows, columns = getattr(getattr(body, "patch_embed", None), "grid_size", None) or (0, 0)
    side = round(tokens**0.5)
    return (int(rows), int(columns)) if rows * columns == tokens else (side, side)
