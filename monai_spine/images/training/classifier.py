"""A classifier of single images: a timm backbone that knows its own grey-value scale, and a head."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from monai_spine.errors import InvalidOptionError, InvalidTableError
from monai_spine.networks.backbone import Backbone
from monai_spine.weights import load_safely, load_weights

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, for networks of which timm does not say what they were trained on."""


class ImageClassifier(nn.Module):
    """Logits of an image: normalisation, a timm backbone, dropout and linear layers.

    Parameters
    ----------
    backbone
        As timm knows it; nothing is fetched when it is made.
    channels
        Of an image. Those of other numbers than three are normalised with the mean over colours.
    pixels
        Rows and columns.
    classes
        How many logits there are.
    hidden
        Sizes of layers with ReLU between the backbone and the last layer.
    dropout
        Before each linear layer of the head.
    drop_path, checkpointing
        See `Backbone`.

    Raises
    ------
    InvalidOptionError
        If timm has no such network, a size does not fit it, or a number is out of its range.
    """

    mean: torch.Tensor
    std: torch.Tensor

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
        self.held: set[str] = set()
        for name, values in zip(("mean", "std"), _colours(backbone, channels), strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, classes)`` of images ``(batch, channels, rows, columns)`` from 0 to 1.

        What has two axes is taken for features of images that went through the backbone before.
        """
        logits: torch.Tensor = self.head(image if image.ndim == 2 else self.features(image))
        return logits

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """What the head gets: ``(batch, features)`` of images ``(batch, channels, rows, columns)`` from 0 to 1."""
        found: torch.Tensor = self.backbone((image - self.mean) / self.std)
        return found

    def train(self, mode: bool = True) -> ImageClassifier:
        """As every module's, but what is held (`held`, names of modules of the backbone) stays as in evaluation.

        Statistics of batch normalisations stand still there, and nothing is dropped.
        """
        super().train(mode)
        if mode and self.held:
            for name, module in self.backbone.body.named_modules():
                if name in self.held:
                    module.training = False
        return self

    def start_from(self, frequencies: torch.Tensor) -> None:
        """Make a new network of several labels answer, at first, about how frequent each is, ``(classes,)``.

        Rare labels otherwise swamp the first steps (Lin et al. 2017, arXiv:1708.02002, section 3.3).
        """
        with torch.no_grad():
            self._last.bias.copy_(frequencies.clamp(1e-4, 1 - 1e-4).logit())

    def take_pretrained(self, source: str) -> None:
        """Fill the backbone from ``hub`` or from a file; see `Backbone.start_from`."""
        self.backbone.start_from(source)

    def take_weights(self, path: str | Path) -> None:
        """Fill the network from a file of one of its kind; every key and shape must match.

        Raises
        ------
        MissingInputError
            If the file is missing.
        InvalidTableError
            If it is damaged, or holds another number of classes or another network.
        """
        held = load_safely(path)
        if isinstance(held, dict) and isinstance(held.get("parts"), dict):
            held = held["parts"].get("network")
        name = f"head.{len(self.head) - 1}.weight"
        last = held.get(name) if isinstance(held, dict) else None
        if isinstance(last, torch.Tensor) and last.shape[0] != self.classes:
            raise InvalidTableError(
                f"{path} holds weights for {last.shape[0]} classes, but {self.classes} are to be told apart; "
                "name the weights that were trained with this datalist, or train anew"
            )
        load_weights(self, path)

    @property
    def _last(self) -> nn.Linear:
        last = self.head[-1]
        if not isinstance(last, nn.Linear):
            raise TypeError(f"expected the head to end with a linear layer, but found {type(last).__name__}")
        return last


def _head(features: int, hidden: Sequence[int], classes: int, dropout: float) -> nn.Sequential:
    sizes = [features, *hidden]
    layers: list[nn.Module] = []
    for size, wider in zip(sizes, hidden, strict=False):
        layers += [nn.Dropout(dropout), nn.Linear(size, wider), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(sizes[-1], classes))


def _colours(backbone: str, channels: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel that the backbone's published weights expect."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known: Any = timm.get_pretrained_cfg(backbone)
    mean, std = (known.mean, known.std) if known else (_MEAN, _STD)
    if channels == len(mean):
        return list(mean), list(std)
    return [sum(mean) / len(mean)] * channels, [sum(std) / len(std)] * channels
