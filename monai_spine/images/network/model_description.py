"""How to build the network of a classifier and how to read images for it: the description beside its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.model_description import description_path, read_description
from monai_spine.errors import InvalidTableError, counted
from monai_spine.images.data.datalist import Task
from monai_spine.images.data.input_format import ImageForm
from monai_spine.images.network.classifier import ImageClassifier


@dataclass(frozen=True, kw_only=True)
class ClassifierDescription:
    """A classifier of images, without its weights."""

    task: str = Task.BINARY.value
    classes: tuple[str, ...] = ("no", "yes")
    """``task``, ``classes``: those of the datalist that it was trained with."""
    backbone: str = "resnet18"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    """``backbone``, ``hidden``, ``dropout``: see `ImageClassifier`."""
    channels: int = 3
    pixels: tuple[int, int] = (224, 224)
    fit: str = "pad"
    intensity: str = "given"
    """``channels``, ``pixels``, ``fit``, ``intensity``: see `ImageForm`."""
    channel_names: tuple[str, ...] = ()
    """Names of the channels if an image has one file for each, else empty."""

    @property
    def form(self) -> ImageForm:
        """The form in which the classifier receives images."""
        return ImageForm(channels=self.channels, pixels=self.pixels, fit=self.fit, intensity=self.intensity)  # type: ignore[arg-type]

    @property
    def multilabel(self) -> bool:
        """Whether an image may have several labels."""
        return self.task == Task.MULTILABEL.value

    def network(self) -> ImageClassifier:
        """A new network of this description, with random weights."""
        return ImageClassifier(
            backbone=self.backbone,
            channels=self.channels,
            pixels=self.pixels,
            classes=len(self.classes),
            hidden=self.hidden,
            dropout=self.dropout,
        )

    def check(self, *, task: str, classes: tuple[str, ...] | list[str], path: Path | str) -> None:
        """Check that a datalist has the same task, and the same classes in the same order.

        Raises `InvalidTableError` if it has not.
        """
        # Logits are assigned to classes by position: the same classes in another order would be wrong silently.
        if (self.task, list(self.classes)) != (task, list(classes)):
            raise InvalidTableError(
                f"{path} tells {counted(len(self.classes), 'class')} apart ({self.task}: "
                f"{', '.join(self.classes)}), but the "
                f"datalist has {len(classes)} ({task}: {', '.join(classes)}); name the weights trained with it"
            )


def read_classifier(weights: str | Path) -> ClassifierDescription:
    """Read the description beside weights; without one, the default, which is the network of the bundle's metadata.

    With the default, the inference configuration can be parsed, and its network checked and exported, before anything
    is trained. Images are graded only with a description of the weights; see `check_described`.

    Raises `InvalidTableError` if the file is not the description of a classifier.
    """
    if not description_path(weights).is_file():
        return ClassifierDescription()
    settings = read_description(weights).settings
    try:
        return ClassifierDescription(**{key: _tuple(value) for key, value in settings.items()})
    except TypeError as err:
        raise InvalidTableError(
            f"{description_path(weights)}: expected settings of an image classifier, but found {', '.join(settings)}"
        ) from err


def check_described(weights: str | Path) -> None:
    """Check that weights have their description beside them.

    Raises `MissingInputError` or `InvalidTableError` if not: else classes and image form would silently be those of
    the default.
    """
    if Path(weights).is_file():
        read_description(weights)


def _tuple(value: Any) -> Any:
    # JSON has no tuples, and a frozen dataclass with lists could not be hashed.
    return tuple(value) if isinstance(value, list) else value
