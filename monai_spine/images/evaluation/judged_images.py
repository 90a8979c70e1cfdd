"""Shows in TensorBoard the images that a classifier was most wrong and most right about, and where it looked."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from monai_spine.errors import InvalidOptionError
from monai_spine.files import write_png
from monai_spine.images.data.dataset import ImageDataset, scaled
from monai_spine.images.evaluation.class_activation import activation_maps, overlay, shown
from monai_spine.images.evaluation.judgement import Judgement, judgements
from monai_spine.images.evaluation.sheet import Picture, Tile, sheet
from monai_spine.images.training.classifier import ImageClassifier
from monai_spine.training.tensorboard.review import Cases, Review, stacked

logger = logging.getLogger(__name__)


class JudgedImages(Review):
    """Draws two sheets once an evaluator has seen all images of all processes: ``most_confused`` and ``surest``.

    Each image stands beside its class activation: of the class that was wrongly said or missed, or that was rightly
    said.

    Parameters
    ----------
    dataset
        Of the images, the same in all processes.
    network
        Whose activation to show, the bare one; None shows the images alone.
    classes
        Their names.
    writer
        TensorBoard's: sheets go under the evaluator's epoch. None draws nothing there.
    output_dir
        A folder for ``most_confused.png`` and ``surest.png`` beside, or instead.
    images
        How many on a sheet.
    every
        See `Review`.
    """

    def __init__(
        self,
        *,
        dataset: ImageDataset,
        network: ImageClassifier | None,
        classes: Sequence[str],
        writer: SummaryWriter | None = None,
        output_dir: str | None = None,
        images: int = 9,
        every: int = 1,
    ) -> None:
        super().__init__(every=every)
        self.dataset, self.network, self.classes = dataset, network, tuple(classes)
        self.writer, self.images = writer, images
        self.output_dir = Path(output_dir) if output_dir is not None else None

    def show(self, cases: Cases, epoch: int) -> None:
        """Draw the sheets."""
        if self.writer is None and self.output_dir is None:
            return
        ranked = judgements(*stacked(cases), list(cases), self.classes)
        wrong = [one for one in ranked if not one.right][: self.images]
        right = [one for one in reversed(ranked) if one.right][: self.images]
        for name, chosen in (("most_confused", wrong), ("surest", right)):
            if chosen:
                self._write(name, sheet(list(self._tiles(chosen))), epoch)

    def _tiles(self, chosen: Sequence[Judgement]) -> Iterable[Tile]:
        images = scaled(self.dataset.__getitems__([one.case for one in chosen])["image"])
        for one, image, looked in zip(chosen, images, self._activations(images, chosen), strict=True):
            file = Path(self.dataset.data[one.case]["image"][0]).name
            pictures = (shown(image.numpy()), *([] if looked is None else [overlay(image.numpy(), looked)]))
            yield Tile(pictures, (one.said, file), one.right)

    def _activations(self, images: torch.Tensor, chosen: Sequence[Judgement]) -> Sequence[Any]:
        if self.network is None:
            return [None] * len(chosen)
        device = next(self.network.parameters()).device
        classes = torch.tensor([one.about for one in chosen])
        try:
            return list(activation_maps(self.network, images.to(device), classes.to(device)).cpu().numpy())
        except InvalidOptionError as err:
            logger.warning("images are shown without where the network looked: %s", err)
            self.network = None
            return [None] * len(chosen)

    def _write(self, name: str, picture: Picture, epoch: int) -> None:
        if self.writer is not None:
            self.writer.add_image(name, picture, epoch, dataformats="HWC")
        if self.output_dir is not None:
            write_png(self.output_dir / f"{name}.png", picture)
