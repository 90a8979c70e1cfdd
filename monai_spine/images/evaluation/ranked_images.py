"""Images ranked by their loss: sheets of those that a classifier gets most wrong, and of those it is surest about."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.dataset import ImageBatches, scaled
from monai_spine.images.evaluation.class_activation import activation_maps, overlay
from monai_spine.images.evaluation.contact_sheet import Tile, contact_sheet, displayed
from monai_spine.images.evaluation.figures import Classified
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import MISSING
from monai_spine.training.tensorboard.review import Cases, PictureReview, stacked

logger = logging.getLogger(__name__)

_ON_A_SHEET = 9
_LEAST_PROBABILITY = 1e-9
"""Smaller probabilities are raised to this before their logarithm."""


class RankedImages(PictureReview):
    """Draws two sheets after an evaluation, of the images of all processes: ``most_confused`` and ``surest``.

    Next to each image is its class activation, of the class that was wrongly predicted, missed, or rightly predicted.

    Parameters
    ----------
    dataset
        The images, the same in all processes.
    network
        The classifier itself, not a wrapper for distributed training; it computes the activation.
    classes
        Names of the classes.
    writer, output_dir, every
        See `PictureReview`.
    """

    def __init__(
        self, *, dataset: ImageBatches, network: ImageClassifier, classes: Sequence[str], **options: Any
    ) -> None:
        super().__init__(**options)
        self.dataset, self.classes = dataset, tuple(classes)
        self.network: ImageClassifier | None = network

    def show(self, cases: Cases, epoch: int) -> None:
        """Draw the sheets."""
        if self.writer is None and self.output_dir is None:
            return
        ranked = rank_by_loss(*stacked(cases), list(cases), self.classes)
        wrong = [image for image in ranked if not image.correct][:_ON_A_SHEET]
        right = [image for image in reversed(ranked) if image.correct][:_ON_A_SHEET]
        for name, chosen in (("most_confused", wrong), ("surest", right)):
            if chosen:
                self.draw(name, contact_sheet(list(self._tiles(chosen))), epoch)

    def _tiles(self, chosen: Sequence[RankedImage]) -> Iterable[Tile]:
        pixels = scaled(self.dataset.__getitems__([image.case for image in chosen])["image"])
        for image, values, activation in zip(chosen, pixels, self._activations(pixels, chosen), strict=True):
            file = Path(self.dataset.data[image.case]["image"][0]).name
            pictures = [displayed(values.numpy())]
            if activation is not None:
                pictures.append(overlay(values.numpy(), activation))
            yield Tile(tuple(pictures), (image.caption, file), image.correct)

    def _activations(self, pixels: torch.Tensor, chosen: Sequence[RankedImage]) -> Sequence[Any]:
        if self.network is None:
            return [None] * len(chosen)
        device = next(self.network.parameters()).device
        classes = torch.tensor([image.explained_class for image in chosen])
        try:
            return list(activation_maps(self.network, pixels.to(device), classes.to(device)).cpu().numpy())
        except InvalidOptionError as err:
            # Some backbones have no feature map with positions. The images are useful without it, and one warning a
            # run is enough.
            logger.warning("images are shown without class activation: %s", err)
            self.network = None
            return [None] * len(chosen)


@dataclass(frozen=True)
class RankedImage:
    """A classified image and how wrong the prediction is."""

    case: Any
    """Position of the image in the dataset."""
    loss: float
    """Cross-entropy; with several labels, the mean over the known labels."""
    correct: bool
    """Whether the predicted class is the label, or all known labels are predicted rightly."""
    explained_class: int
    """The class whose activation explains the prediction. With one label, the predicted class. With several labels, the
    most wrong class, or if all are right, the present class with the greatest probability."""
    caption: str
    """Label and prediction in words."""


def rank_by_loss(
    labels: Ints, probabilities: Floats, cases: Sequence[Hashable], classes: Sequence[str]
) -> list[RankedImage]:
    """All images with a known label, those with the greatest loss first.

    ``labels``, ``probabilities``: as for `Classified`.
    ``cases``: position of each image in the dataset.
    """
    classified = Classified(labels, probabilities)
    truth, decided = classified.truth(), classified.decided()
    ranked = _multilabel_image if classified.multilabel else _single_label_image
    images = [
        ranked(case, labels_of_case, decisions, row, classes)
        for case, labels_of_case, decisions, row in zip(cases, truth, decided, probabilities, strict=True)
        if (labels_of_case != MISSING).any()
    ]
    return sorted(images, key=lambda image: -image.loss)


def _single_label_image(
    case: Hashable, truth: Ints, decided: Ints, probabilities: Floats, classes: Sequence[str]
) -> RankedImage:
    label, predicted = int(truth.argmax()), int(decided.argmax())
    caption = f"{classes[predicted]} {probabilities[predicted]:.2f}"
    if label != predicted:
        caption = f"is {classes[label]} {probabilities[label]:.2f}, said {caption}"
    loss = float(-np.log(max(probabilities[label], _LEAST_PROBABILITY)))
    return RankedImage(case, loss, label == predicted, predicted, caption)


def _multilabel_image(
    case: Hashable, truth: Ints, decided: Ints, probabilities: Floats, classes: Sequence[str]
) -> RankedImage:
    known = truth != MISSING
    of_truth = np.where(truth == 1, probabilities, 1 - probabilities)
    loss = float(-np.log(np.maximum(of_truth[known], _LEAST_PROBABILITY)).mean())
    wrong = known & (truth != decided)
    # -2 and -1 lie below all numbers that they are compared with.
    worst = np.where(wrong, -of_truth, -2.0).argmax()
    surest = np.where(truth == 1, probabilities, -1).argmax()
    parts = {
        "wrongly ": wrong & (decided == 1),
        "missed ": wrong & (decided == 0),
        "": known & ~wrong & (truth == 1),
    }
    phrases = [
        f"{word}{classes[n]} {probabilities[n]:.2f}"
        for word, where in parts.items()
        for n in np.flatnonzero(where).tolist()
    ]
    explained = int(worst if wrong.any() else surest)
    return RankedImage(case, loss, not wrong.any(), explained, ", ".join(phrases) or "nothing")
