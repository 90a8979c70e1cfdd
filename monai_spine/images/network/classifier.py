"""A classifier of single images: normalisation, a timm backbone, and a head of linear layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from monai_spine.errors import InvalidOptionError, InvalidTableError, counted
from monai_spine.networks.backbone import Backbone
from monai_spine.weights import load_safely, load_weights

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's colours, for networks for which timm does not say how their input was normalised."""


class ImageClassifier(nn.Module):
    """Logits of images: normalisation, a timm backbone, dropout and linear layers.

    Raises `InvalidOptionError` if timm has no such network, a size does not fit it, or a number is out of its range.

    Parameters
    ----------
    backbone
        Name of the network in timm. Nothing is downloaded when it is built.
    channels
        Channels of an image. Other numbers than three are normalised with the mean and deviation over the colours.
    pixels
        Numbers of rows and columns.
    classes
        Number of logits.
    hidden
        Widths of further linear layers, each followed by ReLU, between the backbone and the last layer.
    dropout
        Probability of dropout before each linear layer of the head.
    drop_path, checkpointing
        See `Backbone`.
    """

    def __init__(
        self,
        *,
        backbone: str,
        channels: int = 3,
        pixels: Sequence[int] = (224, 224),
        classes: int,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if classes < 1 or channels < 1 or not 0 <= dropout < 1:
            raise InvalidOptionError(
                "expected at least one class, one channel and a dropout from 0 to below 1, "
                f"but found {classes}, {channels} and {dropout}"
            )
        size = [int(n) for n in pixels]
        self.classes = int(classes)
        self.backbone = Backbone(
            backbone, in_channels=channels, pixels=size, drop_path=drop_path, checkpointing=checkpointing
        )
        self.head = _head(self.backbone.features, [int(n) for n in hidden], self.classes, dropout)
        # The normalisation belongs to the network, so that training and every later use cannot differ in it.
        # Not persistent: the backbone's name determines it, and weights files stay those of backbone and head.
        self.mean: torch.Tensor  # here, because TorchScript cannot read annotations of the class
        self.std: torch.Tensor
        for name, values in zip(("mean", "std"), _normalisation(backbone, channels), strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, classes)`` of images ``(batch, channels, rows, columns)`` from 0 to 1.

        An input ``(batch, features)`` goes through the head alone: these are features that were computed before.
        """
        logits: torch.Tensor = self.head(image if image.ndim == 2 else self.features(image))
        return logits

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """The input of the head, ``(batch, features)``, for images ``(batch, channels, rows, columns)`` from 0 to 1."""
        features: torch.Tensor = self.backbone((image - self.mean) / self.std)
        return features

    def start_from(self, frequencies: torch.Tensor) -> None:
        """Set the last bias so that a new multilabel network predicts the frequency of each label, ``(classes,)``.

        Otherwise the absence of rare labels dominates the loss of the first steps (Lin et al. 2017, arXiv:1708.02002,
        section 3.3).
        """
        with torch.no_grad():
            self._last_layer().bias.copy_(frequencies.clamp(1e-4, 1 - 1e-4).logit())

    def take_pretrained(self, source: str) -> None:
        """Load weights of the backbone from ``hub`` or from a file; see `Backbone.start_from`."""
        self.backbone.start_from(source)

    def take_weights(self, path: str | Path) -> None:
        """Load the weights of all layers; every key and shape must match.

        Raises `MissingInputError` if the file is missing.
        Raises `InvalidTableError` if it is damaged, or belongs to another number of classes or another network.
        """
        content = load_safely(path)
        # A file to resume from (latest.pt) holds the network among its parts.
        if isinstance(content, dict) and isinstance(content.get("parts"), dict):
            content = content["parts"].get("network")
        name = f"head.{len(self.head) - 1}.weight"
        last = content.get(name) if isinstance(content, dict) else None
        # Another number of classes is the most common mistake, and a list of shapes would not explain it.
        if isinstance(last, torch.Tensor) and last.shape[0] != self.classes:
            raise InvalidTableError(
                f"{path} holds weights for {counted(last.shape[0], 'class')}, but {self.classes} are expected; "
                "name the weights that were trained with this datalist, or train anew"
            )
        load_weights(self, path)

    def _last_layer(self) -> nn.Linear:  # no property, because TorchScript compiles all properties
        last = self.head[-1]
        if not isinstance(last, nn.Linear):
            raise TypeError(f"expected the head to end with a linear layer, but found {type(last).__name__}")
        return last


def _head(features: int, hidden: Sequence[int], classes: int, dropout: float) -> nn.Sequential:
    sizes = [features, *hidden]
    layers: list[nn.Module] = []
    for size, width in zip(sizes, hidden, strict=False):
        layers += [nn.Dropout(dropout), nn.Linear(size, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(sizes[-1], classes))


def _normalisation(backbone: str, channels: int) -> tuple[list[float], list[float]]:
    """The mean and the standard deviation of each channel that the backbone's published weights expect."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm warns about networks without published weights
        published: Any = timm.get_pretrained_cfg(backbone)
    mean, std = (published.mean, published.std) if published else (_MEAN, _STD)
    if channels == len(mean):
        return list(mean), list(std)
    return [sum(mean) / len(mean)] * channels, [sum(std) / len(std)] * channels
