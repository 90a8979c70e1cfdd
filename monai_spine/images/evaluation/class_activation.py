"""Class activation: which pixels raise the score of a class, by Grad-CAM of any timm backbone, and overlays.

Selvaraju et al., Grad-CAM: Visual explanations from deep networks via gradient-based localization (2017).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ignite.engine import Engine, Events
from matplotlib import colormaps
from torch.nn import functional

from monai_spine.errors import InvalidOptionError
from monai_spine.files import write_png
from monai_spine.images.data.datalist import Record
from monai_spine.images.data.store import ImageStore
from monai_spine.images.evaluation.contact_sheet import Picture, Tile, contact_sheet, displayed
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.networks.feature_map import as_map, has_class_token
from monai_spine.training.engine_output import indices_of

_COLOURS = "inferno"
_OPACITY = 0.6
"""Opacity of the overlay where the activation is 1."""


class ActivationOverlays:
    """Writes ``<image>.png`` for each image: the image as the network sees it, and with the activation of its class.

    The class is the one with the greatest probability.

    Raises `InvalidOptionError` if the backbone has no feature map to show.

    Parameters
    ----------
    output_dir
        The folder of the pictures; they keep the images' subfolders below ``root``.
    records
        The images, in the order of the dataset.
    network
        The classifier itself, not a wrapper for distributed training.
    classes
        Names of the classes.
    store
        The store of the images; those that could not be read get no picture.
    root
        The file or folder of the images.
    """

    def __init__(
        self,
        *,
        output_dir: str,
        records: Sequence[Record],
        network: ImageClassifier,
        classes: Sequence[str],
        store: ImageStore,
        root: str,
    ) -> None:
        self.output_dir, self.records, self.network, self.classes = Path(output_dir), records, network, tuple(classes)
        self.store = store
        self.root = Path(root).parent if Path(root).is_file() else Path(root)

    def attach(self, engine: Engine) -> None:
        """Write after each iteration."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        output: Any = engine.state.output
        images, probabilities = output["image"], output["pred"]
        likeliest = torch.as_tensor(probabilities).argmax(dim=1)
        maps = activation_maps(self.network, images, likeliest.to(images.device)).cpu().numpy()
        for row, n in enumerate(indices_of(engine)):
            files = tuple(self.records[n]["image"])
            if files in self.store.refused:  # a black image took its place
                continue
            image, chosen = images[row].float().cpu().numpy(), int(likeliest[row])
            caption = f"{self.classes[chosen]} {float(probabilities[row, chosen]):.2f}"
            tile = Tile((displayed(image), overlay(image, maps[row])), (caption,))
            write_png(self.output_dir / self._name(n, files[0]), contact_sheet([tile]))

    def _name(self, n: int, file: str) -> Path:
        """The image's path below the root; for an image from elsewhere, its number and its name."""
        inside = Path(os.path.relpath(file, self.root))
        return Path(f"{n:06d}_{inside.name}.png") if ".." in inside.parts else inside.with_name(f"{inside.name}.png")


def activation_maps(network: ImageClassifier, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """How much each pixel raises the score of a class, by the last feature map that has positions.

    That map is the input of the backbone's pooling. In a transformer with a class token, it is the tokens that the
    last block attends to. The network and its gradients are left unchanged.

    ``images``: ``(batch, channels, rows, columns)`` from 0 to 1, on the network's device.
    ``classes``: ``(batch,)``: the class of each map, on the network's device.
    Returns ``(batch, rows, columns)`` from 0 to 1. The maximum of a map is 1, unless no pixel raises the score.
    Raises `InvalidOptionError` if the backbone has no such feature map.
    """
    # Dropout and batch statistics must not change the map, and computing it must not change the statistics.
    mode = network.training
    network.eval()
    try:
        with torch.enable_grad():
            # The images need a gradient, or there would be none at the feature map of a frozen backbone.
            features, logits = _features(network, images.detach().requires_grad_())
            score = logits.gather(1, classes[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, features)
    finally:
        network.train(mode)
    body = network.backbone.body
    values, slopes = (as_map(body, one.detach(), network.backbone.name) for one in (features, gradient))
    maps = (slopes.mean(dim=(2, 3), keepdim=True) * values).sum(dim=1, keepdim=True).relu()
    maps = functional.interpolate(maps.float(), size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    # A map without any positive value stays 0 instead of becoming NaN.
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)


def overlay(image: npt.ArrayLike, activation: npt.ArrayLike) -> Picture:
    """An image with its activation map over it, ``(rows, columns, 3)`` in RGB.

    ``image``: ``(channels, rows, columns)``, as for `displayed`.
    ``activation``: ``(rows, columns)`` from 0 to 1; the greater, the more opaque.
    """
    strength = np.asarray(activation, dtype=np.float32)[..., None]
    colours = colormaps[_COLOURS](strength[..., 0])[..., :3] * 255
    mixed = displayed(image) * (1 - _OPACITY * strength) + colours * _OPACITY * strength
    return np.asarray(mixed.round(), dtype=np.uint8)


def _features(network: ImageClassifier, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The features of the map, and the logits that are computed from them."""
    body: Any = network.backbone.body
    if not has_class_token(body):
        features = body.forward_features((images - network.mean) / network.std)
        if not isinstance(features, torch.Tensor):
            raise InvalidOptionError(f"expected one feature map of {network.backbone.name}, but it has several")
        return features, network.head(body.forward_head(features))
    # The last block's output at the patches does not reach the head: only the class token does. The block's input does,
    # through attention.
    outputs: list[torch.Tensor] = []
    hook = body.blocks[-1].norm1.register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        logits = network(images)
    finally:
        hook.remove()
    return outputs[0], logits
