"""What TensorBoard shows of a validation of images."""

from collections.abc import Sequence

from ignite.engine import Engine

from monai_spine.images.data.dataset import ImageBatches
from monai_spine.images.evaluation.figures import ClassificationCharts
from monai_spine.images.evaluation.ranked_images import RankedImages
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.training.tensorboard.log import TensorBoard
from monai_spine.training.tensorboard.review import ConfusionPicture, PrecisionRecall, Review

_TIMES = 4
"""How often everything is drawn in a training, unless a number of epochs is given."""


class TrainingPictures:
    """Precision-recall curves, confusion matrices and ranked images, drawn every few epochs.

    Parameters
    ----------
    dataset, network, classes
        See `RankedImages`.
    writer
        TensorBoard's.
    epochs
        Of the training.
    every
        Epochs from one time to the next; None for four times in a training.
    """

    def __init__(
        self,
        *,
        dataset: ImageBatches,
        network: ImageClassifier,
        classes: Sequence[str],
        writer: TensorBoard,
        epochs: int,
        every: int | None = None,
    ) -> None:
        self.every = max(1, epochs // _TIMES) if every is None else every
        charts = ClassificationCharts(classes)
        self.reviews: list[Review] = [
            PrecisionRecall(writer=writer, curves=charts.curves, every=self.every),
            ConfusionPicture(writer=writer, confusions=charts.confusions, every=self.every),
            RankedImages(writer=writer, dataset=dataset, network=network, classes=classes, every=self.every),
        ]

    def attach(self, engine: Engine) -> None:
        """Listen to the evaluator."""
        for review in self.reviews:
            review.attach(engine)
