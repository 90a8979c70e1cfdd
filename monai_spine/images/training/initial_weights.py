"""The start of a training of images: settings that follow from others, and what the network holds."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any

from monai_spine.images.data.datalist import ImageDatalist, Record, Task
from monai_spine.images.data.dataset import frequencies
from monai_spine.images.data.store import ImageStore
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.images.network.layer_freezing import FROZEN, LayerFreezing
from monai_spine.images.network.model_description import ClassifierDescription, check_described
from monai_spine.training.run_state import resumes

_LONG = 40
"""Epochs from which on a training is long enough for stronger augmentation to pay."""
_GREY_OR_COLOUR = 3
"""Channels of an image that is one file: pretrained networks take three."""


def channels(images: ImageDatalist) -> int:
    """One channel for each file of an image; three if an image is one file."""
    files = len(images.training[0]["image"])
    return files if files > 1 else _GREY_OR_COLOUR


def channel_names(images: ImageDatalist) -> tuple[str, ...]:
    """Names of an image's files: the datalist's, else numbers; none if an image is one file."""
    files = len(images.training[0]["image"])
    return (images.channels or tuple(map(str, range(files)))) if files > 1 else ()


def learning_rate(pretrained: str | None, train_layers: str) -> float:
    """A small rate where pretrained layers learn; a larger one from random weights, and for the head alone."""
    return 0.0002 if pretrained and train_layers != FROZEN else 0.001


def warmup_epochs(epochs: int) -> float:
    """A tenth of the training, at most one epoch."""
    return min(1.0, epochs / 10)


def figures_every(epochs: int) -> int:
    """Epochs between two drawings of curves and pictures, which are drawn four times in a training."""
    return max(1, epochs // 4)


def augmentation(train_layers: str, unfreeze: Mapping[Any, str] | None, epochs: int) -> str:
    """The preset of augmentation: none for a head alone, whose features are then computed once; else by the budget."""
    if train_layers == FROZEN and not unfreeze:
        return "none"
    return "light" if epochs >= _LONG else "mirror"


def drop_last(sampler: Sized, batch_size: int) -> bool:
    """Leave out the last batch, which may be too small for batch normalisation, unless it is the only one."""
    return len(sampler) > batch_size


def features_once(
    wanted: bool,
    layers: LayerFreezing,
    augmentation: str,
    augmentation_limits: Mapping[str, Any],
    mixtures: Sequence[float],
) -> bool:
    """Whether features of the backbone can be computed once: it never learns, and images are never changed."""
    changed = augmentation != "none" or bool(augmentation_limits) or any(mixtures)
    return wanted and layers.head_alone and not changed


def start_classifier(
    network: ImageClassifier,
    *,
    layers: LayerFreezing,
    store: ImageStore,
    images: ImageDatalist,
    training: Sequence[Record],
    pretrained: str | None,
    weights: str | None,
    resume: bool | str,
    folder: str,
) -> None:
    """Open the images, and fill a new network; errors are those of the methods that this calls.

    Parameters
    ----------
    training
        The images to learn from. A network for several labels begins with their frequencies.
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
    if images.task is Task.MULTILABEL:
        network.start_from(frequencies(training, len(images.classes)))
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
