"""Shows precision-recall curves of a validation in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch.utils.tensorboard import SummaryWriter

from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.figures import Curve
from monai_spine.training.tensorboard.review import Cases, Review, stacked

_THRESHOLDS = 127


class PrecisionRecall(Review):
    """Adds curves of all that an evaluator has seen under the epoch.

    Parameters
    ----------
    writer
        TensorBoard's: curves go under their names. None, in processes that draw nothing, only gives its cases.
    curves
        From labels and probabilities, such as `monai_spine.training.tensorboard.grading_review.grading_curves`.
    every
        See `Review`.
    """

    def __init__(
        self,
        *,
        writer: SummaryWriter | None,
        curves: Callable[[Ints, Floats], Mapping[str, Curve]],
        every: int = 1,
    ) -> None:
        super().__init__(every=every)
        self.writer, self.curves = writer, curves

    def show(self, cases: Cases, epoch: int) -> None:
        """Add the curves."""
        if self.writer is not None:
            for name, curve in self.curves(*stacked(cases)).items():
                self.writer.add_pr_curve(name, curve.positive, curve.score, epoch, _THRESHOLDS)
