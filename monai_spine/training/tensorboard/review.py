"""Handlers that show a whole evaluation, and what they show of grades: precision-recall curves, confusion matrices."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt
from ignite.engine import Engine, Events
from torch.utils.tensorboard import SummaryWriter

from monai_spine.files import write_png
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.confusion import Confusion, confusion_picture
from monai_spine.scoring.figures import Curve, study_confusions
from monai_spine.scoring.prevalence import natural_prevalence
from monai_spine.spine import MISSING, Condition, Grade, columns_of
from monai_spine.training.engine_output import CollectedCases
from monai_spine.training.tensorboard.log import TensorBoard

Cases = Mapping[Any, tuple[npt.NDArray[Any], npt.NDArray[Any]]]
"""Label and probabilities by the case's id, never empty."""

_THRESHOLDS = 127
"""Points of a curve: as many as TensorBoard keeps by default."""


class Review(ABC):
    """Collects what an evaluator answers in all processes, and shows it in the first one when the evaluator is done.

    Parameters
    ----------
    every
        Epochs from one time to the next; MONAI sets an evaluator's epoch to the trainer's.
    """

    def __init__(self, *, every: int = 1) -> None:
        self.every = every
        self._cases = CollectedCases()

    def attach(self, engine: Engine) -> None:
        """Collect while the evaluator runs, show at the end."""
        self._cases.attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._show_cases)

    @abstractmethod
    def show(self, cases: Cases, epoch: int) -> None:
        """Show the answers to these cases."""

    def _show_cases(self, evaluator: Engine) -> None:
        epoch = evaluator.state.epoch
        if epoch % self.every:
            return
        cases = self._cases.by_id()  # all processes must gather, though only the first shows
        if idist.get_rank() == 0 and cases:
            self.show(cases, epoch)


class PrecisionRecall(Review):
    """Adds precision-recall curves of all that an evaluator has seen to TensorBoard, under the epoch.

    Parameters
    ----------
    writer
        TensorBoard's; curves go under their names.
    curves
        From labels and probabilities, such as `monai_spine.training.tensorboard.review.grading_curves`.
    every
        See `Review`.
    """

    def __init__(
        self,
        *,
        writer: SummaryWriter | TensorBoard,
        curves: Callable[[Ints, Floats], Mapping[str, Curve]],
        every: int = 1,
    ) -> None:
        super().__init__(every=every)
        self.writer, self.curves = writer, curves

    def show(self, cases: Cases, epoch: int) -> None:
        """Add the curves."""
        for name, curve in self.curves(*stacked(cases)).items():
            self.writer.add_pr_curve(name, curve.positive, curve.score, epoch, _THRESHOLDS)


class PictureReview(Review):
    """A `Review` that draws pictures.

    Parameters
    ----------
    writer
        TensorBoard's: pictures go there under their names and the evaluator's epoch. None draws nothing there.
    output_dir
        A folder for the pictures as PNG. None writes no file.
    every
        See `Review`.
    """

    def __init__(
        self, *, writer: SummaryWriter | TensorBoard | None = None, output_dir: str | None = None, every: int = 1
    ) -> None:
        super().__init__(every=every)
        self.writer = writer
        self.output_dir = Path(output_dir) if output_dir is not None else None

    def draw(self, name: str, picture: npt.NDArray[np.uint8], epoch: int) -> None:
        """Put a picture ``(height, width, 3)`` where pictures go."""
        if self.writer is not None:
            self.writer.add_image(name, picture, epoch, dataformats="HWC")
        if self.output_dir is not None:
            write_png(self.output_dir / f"{name}.png", picture)


class ConfusionPicture(PictureReview):
    """Draws the confusion matrices of all that an evaluator has seen as ``confusion``.

    Parameters
    ----------
    confusions
        From labels and probabilities, such as `monai_spine.training.tensorboard.review.grading_confusions`.
    writer, output_dir, every
        See `PictureReview`.
    """

    def __init__(self, *, confusions: Callable[[Ints, Floats], Sequence[Confusion]], **options: Any) -> None:
        super().__init__(**options)
        self.confusions = confusions

    def show(self, cases: Cases, epoch: int) -> None:
        """Draw the picture."""
        self.draw("confusion", confusion_picture(self.confusions(*stacked(cases))), epoch)


def stacked(cases: Cases) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Labels and probabilities, one case after the other."""
    labels, probabilities = zip(*cases.values(), strict=True)
    return np.stack(labels), np.stack(probabilities)


_LOWEST_GRADES = {"severe": Grade.SEVERE, "moderate_or_worse": Grade.MODERATE}


def grading_curves(labels: Ints, probabilities: Floats) -> dict[str, Curve]:
    """Curves of "severe" and of "moderate or worse" for each condition that has labels on both sides.

    Parameters
    ----------
    labels
        ``(studies, 25)``.
    probabilities
        ``(studies, 25, 3)``, competition-weighted; the curves are those at natural prevalence.
    """
    natural = natural_prevalence(probabilities)
    curves = {}
    for condition in Condition:
        own = columns_of(condition)
        known = labels[:, own] != MISSING
        for name, lowest in _LOWEST_GRADES.items():
            score = natural[:, own][..., lowest:].sum(axis=-1)[known]
            curves[f"{name}/{condition.value}"] = Curve(labels[:, own][known] >= lowest, score)
    return {name: curve for name, curve in curves.items() if curve.defined}


def grading_confusions(labels: Ints, probabilities: Floats) -> list[Confusion]:
    """Matrices of each condition and of all conditions, of the most probable grade at natural prevalence.

    Parameters
    ----------
    labels, probabilities
        As for `grading_curves`.
    """
    decided = natural_prevalence(probabilities).argmax(axis=-1)
    members = {condition.value.replace("_", " "): columns_of(condition) for condition in Condition}
    members["all conditions"] = list(range(labels.shape[1]))
    names = tuple(grade.title for grade in Grade)
    square = (len(Grade), len(Grade))
    counts = {
        title: study_confusions(labels[:, own], decided[:, own]).sum(axis=0).reshape(square)
        for title, own in members.items()
    }
    return [Confusion(title, names, matrix.astype(np.int64)) for title, matrix in counts.items()]
