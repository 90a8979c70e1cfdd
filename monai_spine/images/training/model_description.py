"""What stands beside a classifier's weights: everything that using them needs to know."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.files import write_text
from monai_spine.images.data.datalist import Task
from monai_spine.images.data.form import ImageForm
from monai_spine.images.training.classifier import ImageClassifier

SCHEMA = "monai_spine/image-classifier/1"


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """A classifier of images, without its weights.

    Attributes
    ----------
    task, classes
        Of the datalist that it was trained with.
    backbone, hidden, dropout
        See `ImageClassifier`.
    channels, pixels, fit, intensity
        See `ImageForm`.
    channel_names
        Of the files of an image, where there is one for each channel; else empty.
    """

    task: str = Task.BINARY.value
    classes: tuple[str, ...] = ("no", "yes")
    backbone: str = "resnet18"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    channels: int = 3
    pixels: tuple[int, int] = (224, 224)
    fit: str = "pad"
    intensity: str = "given"
    channel_names: tuple[str, ...] = ()

    @property
    def form(self) -> ImageForm:
        """What images become."""
        return ImageForm(channels=self.channels, pixels=self.pixels, fit=self.fit, intensity=self.intensity)  # type: ignore[arg-type]

    @property
    def several(self) -> bool:
        """Whether an image may have several labels."""
        return self.task == Task.MULTILABEL.value

    def network(self) -> ImageClassifier:
        """A network of this kind, without its weights."""
        return ImageClassifier(
            backbone=self.backbone,
            channels=self.channels,
            pixels=self.pixels,
            classes=len(self.classes),
            hidden=self.hidden,
            dropout=self.dropout,
        )

    def check(self, *, task: str, classes: tuple[str, ...] | list[str], path: Path | str) -> None:
        """Make sure that a datalist has the same task and classes in the same order.

        Raises
        ------
        InvalidTableError
            If it has not.
        """
        if (self.task, list(self.classes)) != (task, list(classes)):
            raise InvalidTableError(
                f"{path} tells {len(self.classes)} classes apart ({self.task}: {', '.join(self.classes)}), but the "
                f"datalist has {len(classes)} ({task}: {', '.join(classes)}); name the weights trained with it"
            )


def description_path(weights: str | Path) -> Path:
    """Where the description of a file of weights is: ``model.pt`` has ``model.json``."""
    return Path(weights).with_suffix(".json")


def write_description(weights: str | Path, description: ModelDescription) -> None:
    """Write it beside the weights, whole or not at all."""
    content = {"schema": SCHEMA, **dataclasses.asdict(description)}
    write_text(description_path(weights), json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_description(weights: str | Path) -> ModelDescription:
    """Read what stands beside weights; the default design where there are no weights at all.

    Raises
    ------
    MissingInputError
        If there are weights without it.
    InvalidTableError
        If it is no such file.
    """
    path = description_path(weights)
    if not path.is_file():
        if Path(weights).is_file():
            raise MissingInputError(f"expected {path.name} beside {weights}: training writes both, copy both")
        return ModelDescription()
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        return ModelDescription(**{key: _tuple(value) for key, value in content.items()})
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        raise InvalidTableError(f"{path}: expected {SCHEMA}, but it cannot be read ({err})") from err


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
