"""Shows confusion matrices of a validation in TensorBoard, or as a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from monai_spine.confusion import Confusion, confusion_picture
from monai_spine.engine_output import Answers
from monai_spine.scoring import Floats, Ints


class ConfusionMatrix:
    """Draws the matrices of all that an evaluator has seen, in all processes.

    Parameters
    ----------
    confusions
        From labels and probabilities, such as `monai_spine.grading_review.grading_confusions`.
    writer
        TensorBoard's: the picture goes under ``confusion`` of the evaluator's epoch. None draws nothing there.
    output_dir
        A folder for ``confusion.png`` beside, or instead.
    """

    def __init__(
        self,
        *,
        confusions: Callable[[Ints, Floats], Sequence[Confusion]],
        writer: SummaryWriter | None = None,
        output_dir: str | None = None,
    ) -> None:
        self.confusions, self.writer = confusions, writer
        self.output_dir = Path(output_dir) if output_dir is not None else None
        self._answers = Answers()

    def attach(self, engine: Engine) -> None:
        """Collect while the evaluator runs, draw at the end; MONAI sets its epoch to the trainer's."""
        self._answers.attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _draw(self, evaluator: Engine) -> None:
        labels, probabilities = self._answers.arrays()
        if idist.get_rank() != 0 or not len(labels):
            return
        picture = confusion_picture(self.confusions(labels, probabilities))
        if self.writer is not None:
            self.writer.add_image("confusion", picture, evaluator.state.epoch, dataformats="HWC")
        if self.output_dir is not None:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            partial = self.output_dir / ".confusion.png.part"
            Image.fromarray(picture).save(partial, format="png")
            partial.replace(self.output_dir / "confusion.png")
