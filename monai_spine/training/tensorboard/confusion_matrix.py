"""Shows confusion matrices of a validation in TensorBoard, or as a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from monai_spine.files import write_png
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.confusion import Confusion, confusion_picture
from monai_spine.training.tensorboard.review import Cases, Review, stacked


class ConfusionMatrix(Review):
    """Draws the matrices of all that an evaluator has seen.

    Parameters
    ----------
    confusions
        From labels and probabilities, such as `monai_spine.training.tensorboard.grading_review.grading_confusions`.
    writer
        TensorBoard's: the picture goes under ``confusion`` of the evaluator's epoch. None draws nothing there.
    output_dir
        A folder for ``confusion.png`` beside, or instead.
    every
        See `Review`.
    """

    def __init__(
        self,
        *,
        confusions: Callable[[Ints, Floats], Sequence[Confusion]],
        writer: SummaryWriter | None = None,
        output_dir: str | None = None,
        every: int = 1,
    ) -> None:
        super().__init__(every=every)
        self.confusions, self.writer = confusions, writer
        self.output_dir = Path(output_dir) if output_dir is not None else None

    def show(self, cases: Cases, epoch: int) -> None:
        """Draw the picture."""
        if self.writer is None and self.output_dir is None:
            return
        picture = confusion_picture(self.confusions(*stacked(cases)))
        if self.writer is not None:
            self.writer.add_image("confusion", picture, epoch, dataformats="HWC")
        if self.output_dir is not None:
            write_png(self.output_dir / "confusion.png", picture)
