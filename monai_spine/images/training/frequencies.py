"""How frequent classes are, and what follows for losses and for drawing images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.datalist import UNKNOWN, Record

_RAREST = 1e-3
"""A class counts at most as if it were this frequent."""


def frequencies(records: Sequence[Record], classes: int) -> torch.Tensor:
    """Share of the images with a known label that have each class, ``(classes,)``."""
    present, known = _present(records, classes)
    shares = (present & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return torch.tensor(shares, dtype=torch.float32)


def class_weights(given: str | Sequence[float] | None, records: Sequence[Record], classes: int) -> torch.Tensor | None:
    """Weights of classes in a loss: None, those given, or for ``balanced`` such that all classes count equally.

    Of several labels an image, presence then counts as much as absence; none counts more than a thousandfold.

    Raises
    ------
    InvalidOptionError
        If the word is another one.
    """
    if given is None or not isinstance(given, str):
        return None if given is None else torch.tensor([float(weight) for weight in given])
    if given != "balanced":
        raise InvalidOptionError(f"expected class weights as None, 'balanced' or numbers, but found {given!r}")
    shares = frequencies(records, classes).clamp(_RAREST, 1 - _RAREST)
    return (1 - shares) / shares if _several(records) else 1 / (classes * shares)


def draw_weights(records: Sequence[Record], classes: int) -> np.ndarray:
    """How often to draw each image so that classes come equally often, ``(images,)`` of sum 1.

    An image of several labels is drawn as often as its rarest one asks for; one without any as the most frequent.
    """
    present, known = _present(records, classes)
    shares = np.maximum((present & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1), _RAREST)
    each = np.where(present & known, 1 / shares, 0.0).max(axis=1)
    each = np.where(each > 0, each, 1 / max(shares.max(), 1 - shares.sum()))
    return np.asarray(each / each.sum())


def _several(records: Sequence[Record]) -> bool:
    return isinstance(records[0]["label"], list)


def _present(records: Sequence[Record], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Which image has which class, and of which it is known, ``(images, classes)`` each."""
    labels = np.array([record["label"] for record in records])
    known = labels != UNKNOWN
    if labels.ndim == 2:
        return labels == 1, known
    return labels[:, None] == np.arange(classes), np.repeat(known[:, None], classes, axis=1)
