"""Shows precision-recall curves of a validation in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ignite.engine import Engine, Events
from torch.utils.tensorboard import SummaryWriter

from monai_spine.engine_output import Answers
from monai_spine.precision_recall import Curve
from monai_spine.scoring import Floats, Ints

_THRESHOLDS = 127


class PrecisionRecall:
    """Adds curves of all that an evaluator has seen, in all processes, under the epoch.

    Parameters
    ----------
    writer
        TensorBoard's: curves go under their names; None, in processes that draw nothing, only gives its cases.
    curves
        From labels and probabilities, such as `monai_spine.grading_review.grading_curves`.
    """

    def __init__(self, *, writer: SummaryWriter | None, curves: Callable[[Ints, Floats], Mapping[str, Curve]]) -> None:
        self.writer, self.curves = writer, curves
        self._answers = Answers()

    def attach(self, engine: Engine) -> None:
        """Collect while the evaluator runs, draw at the end; MONAI sets its epoch to the trainer's."""
        self._answers.attach(engine)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _draw(self, evaluator: Engine) -> None:
        labels, probabilities = self._answers.arrays()
        if self.writer is None or not len(labels):
            return
        for name, curve in self.curves(labels, probabilities).items():
            self.writer.add_pr_curve(name, curve.positive, curve.score, evaluator.state.epoch, _THRESHOLDS)
