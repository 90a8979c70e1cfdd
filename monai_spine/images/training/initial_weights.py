"""The start of a training of images: settings that follow from others, and what the network holds."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any

import torch

from monai_spine.images.data.dataset import ImageBatches, frequencies
from monai_spine.images.data.fold import ImageFold
from monai_spine.images.data.store import ImageStore
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.images.network.frozen_features import FrozenFeatures
from monai_spine.images.network.model_description import ClassifierDescription, check_described
from monai_spine.images.training.augmentation import ImageAugmentation, ImageMixing
from monai_spine.networks.layer_freezing import FROZEN, LayerFreezing
from monai_spine.training.run_state import resumes

_LONG = 40
"""Epochs from which on a training is long enough for stronger augmentation to pay."""


def learning_rate(pretrained: str | None, train_layers: str) -> float:
    """A small rate where pretrained layers learn; a larger one from random weights, and for the head alone."""
    return 0.0002 if pretrained and train_layers != FROZEN else 0.001


def warmup_epochs(epochs: int) -> float:
    """A tenth of the training, at most one epoch."""
    return min(1.0, epochs / 10)


def augmentation(train_layers: str, unfreeze: Mapping[Any, str] | None, epochs: int) -> str:
    """The preset of augmentation: none for a head alone, whose features are then computed once; else by the budget."""
    if train_layers == FROZEN and not unfreeze:
        return "none"
    return "light" if epochs >= _LONG else "mirror"


def drop_last(sampler: Sized, batch_size: int) -> bool:
    """Leave out the last batch, which may be too small for batch normalisation, unless it is the only one."""
    return len(sampler) > batch_size


def features_once(
    network: ImageClassifier,
    *,
    layers: LayerFreezing,
    augmentation: ImageAugmentation,
    mixing: ImageMixing,
    dataset: ImageBatches,
    device: torch.device,
    batch_size: int,
    amp: bool,
    progress: bool = False,
    once: bool = True,
) -> FrozenFeatures | None:
    """The features of a backbone, computed once, if it never learns and images are never changed; else None.

    Parameters
    ----------
    layers
        Of the network: which of them learn.
    augmentation, mixing
        The changes of the images.
    dataset, device, batch_size, amp, progress
        See `FrozenFeatures`.
    once
        False computes them in every epoch.
    """
    if not once or not layers.head_alone or augmentation.changes or mixing.mixes:
        return None
    return FrozenFeatures(network, dataset, device=device, batch_size=batch_size, amp=amp, progress=progress)


def start_classifier(
    network: ImageClassifier,
    *,
    layers: LayerFreezing,
    store: ImageStore,
    images: ImageFold,
    pretrained: str | None,
    weights: str | None,
    resume: bool | str,
    folder: str,
) -> None:
    """Open the images, and fill a new network; errors are those of the methods that this calls.

    Parameters
    ----------
    images
        Those to learn from. A network for several labels begins with the frequencies of their labels.
    pretrained
        ``hub``, or a file of a backbone; None for none.
    weights
        A file of a whole classifier; None for none.
    resume, folder
        See `resumes`: where the run's own state fills the network later, nothing is fetched or read here.
    """
    resumed = resumes(resume, folder)
    layers.check_start(bool(pretrained or weights or resumed))
    store.open()
    if images.multilabel:
        network.start_from(frequencies(images.training, len(images.classes)))
    if pretrained and not resumed:
        network.take_pretrained(pretrained)
    if weights and not resumed:
        network.take_weights(weights)


def load_classifier(
    network: ImageClassifier, *, description: ClassifierDescription, task: str, classes: Sequence[str], path: str
) -> None:
    """Fill a network with trained weights, if they are those of the datalist's task and classes."""
    check_described(path)
    description.check(task=task, classes=list(classes), path=path)
    network.take_weights(path)
