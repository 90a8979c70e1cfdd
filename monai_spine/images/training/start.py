"""What a classifier of images holds when it begins to learn, or to be evaluated."""

from __future__ import annotations

from collections.abc import Sequence

from ignite.engine import Engine

from monai_spine.images.data.class_balance import frequencies
from monai_spine.images.data.datalist import ImageDatalist, Record, Task
from monai_spine.images.data.store import ImageStore
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.images.network.layer_freezing import LayerFreezing
from monai_spine.images.network.model_description import ModelDescription, check_described, write_description


def start_classifier(
    network: ImageClassifier,
    *,
    layers: LayerFreezing,
    store: ImageStore,
    images: ImageDatalist,
    training: Sequence[Record],
    pretrained: str | None,
    weights: str | None,
    resume: bool,
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
    resume
        Whether the run's own state fills the network later: nothing is then fetched or read here.
    """
    layers.check_start(bool(pretrained or weights or resume))
    store.open()
    if images.task is Task.MULTILABEL:
        network.start_from(frequencies(training, len(images.classes)))
    if pretrained and not resume:
        network.take_pretrained(pretrained)
    if weights and not resume:
        network.take_weights(weights)


def load_classifier(
    network: ImageClassifier, *, description: ModelDescription, task: str, classes: Sequence[str], path: str
) -> None:
    """Fill a network with trained weights, if they are those of the datalist's task and classes."""
    check_described(path)
    description.check(task=task, classes=list(classes), path=path)
    network.take_weights(path)


class DescribedWeights:
    """Writes what using the weights needs beside them, when a training begins.

    Parameters
    ----------
    path
        The weights' file.
    description
        Of the classifier.
    """

    def __init__(self, *, path: str, description: ModelDescription) -> None:
        self.path, self.description = path, description

    def attach(self, evaluator: Engine, trainer: Engine) -> None:  # noqa: ARG002 (a run's listeners get both engines)
        """Write it."""
        write_description(self.path, self.description)
