"""How frequent the classes are, and the weights that make unequal classes count equally."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.datalist import UNKNOWN, Record

_LOWEST_FREQUENCY = 1e-3
"""A rarer class is treated as if it were this frequent, so that no image weighs more than a thousandfold."""


def frequencies(records: Sequence[Record], classes: int) -> torch.Tensor:
    """Share of the images that have each class, among those whose label is known: ``(classes,)`` float32."""
    return torch.tensor(_shares(*_present(records, classes)), dtype=torch.float32)


def class_weights(choice: str | Sequence[float] | None, records: Sequence[Record], classes: int) -> torch.Tensor | None:
    """Weights of the classes in a loss, ``(classes,)`` float32.

    Parameters
    ----------
    choice
        None for no weights; ``balanced`` for weights that make all classes count equally, or with several labels an
        image, that make the presence of a class count as much as its absence; or one number per class.

    Raises
    ------
    InvalidOptionError
        If the choice is another word.
    """
    if choice is None:
        return None
    if not isinstance(choice, str):
        return torch.tensor([float(weight) for weight in choice])
    if choice != "balanced":
        raise InvalidOptionError(f"expected class weights as None, 'balanced' or numbers, but found {choice!r}")
    shares = frequencies(records, classes).clamp(_LOWEST_FREQUENCY, 1 - _LOWEST_FREQUENCY)
    multilabel = isinstance(records[0]["label"], list)
    return (1 - shares) / shares if multilabel else 1 / (classes * shares)


def draw_probabilities(records: Sequence[Record], classes: int) -> np.ndarray:
    """Probability of drawing each image so that classes come equally often: ``(images,)`` float64 with sum 1.

    An image with several labels is drawn as often as its rarest label demands. An image without any label is drawn as
    often as one of the most frequent group.
    """
    present, known = _present(records, classes)
    shares = np.maximum(_shares(present, known), _LOWEST_FREQUENCY)
    weights = np.where(present & known, 1 / shares, 0.0).max(axis=1)
    # An image without any label belongs to the group of "none of the classes", whose share is what the classes leave.
    weights = np.where(weights > 0, weights, 1 / max(shares.max(), 1 - shares.sum()))
    return np.asarray(weights / weights.sum())


def _shares(present: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.asarray((present & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def _present(records: Sequence[Record], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether each image has each class, and whether that is known: two bool arrays ``(images, classes)``."""
    labels = np.array([record["label"] for record in records])
    known = labels != UNKNOWN
    if labels.ndim == 2:
        return labels == 1, known
    return labels[:, None] == np.arange(classes), np.repeat(known[:, None], classes, axis=1)
