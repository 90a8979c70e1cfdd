"""A datalist of images with one fold held out: what a training's configuration asks for."""

from functools import cached_property
from pathlib import Path

from monai_spine.images.data.datalist import ImageDatalist, Record, Task, read_image_datalist

_GREY_OR_COLOUR = 3
"""Channels of an image that is one file: pretrained networks take three."""


class ImageFold:
    """The images of a datalist: those to learn from, and those of a fold to validate on.

    Raises
    ------
    MissingInputError, InvalidTableError
        As `read_image_datalist` does; `training` and `validation` also as `split_folds` does.
    """

    def __init__(self, datalist: str | Path, fold: int) -> None:
        self.datalist: ImageDatalist = read_image_datalist(datalist)
        self.fold = fold

    @property
    def training(self) -> list[Record]:
        """The images to learn from."""
        return self._sides[0]

    @property
    def validation(self) -> list[Record]:
        """The images of the fold."""
        return self._sides[1]

    @property
    def task(self) -> str:
        """The value of the datalist's `Task`."""
        return self.datalist.task.value

    @property
    def multilabel(self) -> bool:
        """Whether an image may have several labels."""
        return self.datalist.task is Task.MULTILABEL

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the logits."""
        return list(self.datalist.classes)

    @property
    def key_metric(self) -> str:
        """The figure that chooses the best weights; see `Task.key_metric`."""
        return self.datalist.task.key_metric

    @property
    def channels(self) -> int:
        """One channel for each file of an image; three if an image is one file."""
        return self._files if self._files > 1 else _GREY_OR_COLOUR

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of an image's files: the datalist's, else numbers; none if an image is one file."""
        return (self.datalist.channels or tuple(map(str, range(self._files)))) if self._files > 1 else ()

    @property
    def _files(self) -> int:
        return len(self.datalist.training[0]["image"])

    @cached_property
    def _sides(self) -> tuple[list[Record], list[Record]]:
        # Only when asked for: images of the test section are evaluated without any fold.
        return self.datalist.split(self.fold)
