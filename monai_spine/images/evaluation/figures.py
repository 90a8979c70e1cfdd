"""Figures of classified images, for the sample and for every bootstrap replicate at once; charts and Ignite metric.

The definitions are scikit-learn's. Means over classes leave out classes for which a figure is not defined.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric

from monai_spine.errors import counted
from monai_spine.images.data.datalist import Task
from monai_spine.scoring import figures as metrics
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.confusion import Confusion
from monai_spine.scoring.figures import Curve, bin_sums, calibration_errors, ratio
from monai_spine.spine import MISSING
from monai_spine.training.metrics import CaseMetric

Figures = dict[str, Floats]
"""Figures by name, each ``(replicates,)`` with the sample itself first; NaN where a figure is not defined."""


@dataclass(frozen=True)
class Classified:
    """Labels of images, and the probabilities that a network predicts."""

    labels: Ints
    """``(images,)``, a class each, or ``(images, classes)`` of 0 and 1 if an image may have several labels; `MISSING`
    if the label is unknown."""
    probabilities: Floats
    """``(images, classes)``; rows sum to 1 if each image has one class."""
    thresholds: Floats | None = None
    """``(classes,)``: the probability from which an image has a label, if it may have several; None for 0.5."""

    @property
    def multilabel(self) -> bool:
        """Whether an image may have several labels."""
        return self.labels.ndim == 2

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.probabilities.shape[1]

    def truth(self) -> Ints:
        """Labels of each class against the rest, ``(images, classes)`` of 0, 1 and `MISSING`."""
        if self.multilabel:
            return self.labels
        one_hot = (self.labels[:, None] == np.arange(self.classes)).astype(np.int64)
        return np.where(self.labels[:, None] == MISSING, MISSING, one_hot)

    def decided(self) -> Ints:
        """Decisions on each class against the rest, ``(images, classes)`` of 0 and 1."""
        if self.multilabel:
            thresholds = np.full(self.classes, 0.5) if self.thresholds is None else self.thresholds
            return (self.probabilities >= thresholds).astype(np.int64)
        return (self.probabilities.argmax(axis=1)[:, None] == np.arange(self.classes)).astype(np.int64)

    def confusions(self) -> Ints:
        """The confusion matrix of labels by decisions, ``(classes, classes)``; multilabel, ``(classes, 2, 2)``."""
        if not self.multilabel:
            # `metrics` works on studies with several findings: an image is a study with one finding.
            cells = metrics.study_confusions(
                self.labels[:, None], self.probabilities.argmax(axis=1)[:, None], self.classes
            )
            return cells.sum(axis=0).reshape(self.classes, self.classes).astype(np.int64)
        columns = zip(self.labels.T, self.decided().T, strict=True)
        matrices = [metrics.study_confusions(label[:, None], decided[:, None], 2) for label, decided in columns]
        return np.asarray(matrices).sum(axis=1).reshape(self.classes, 2, 2).astype(np.int64)


def class_figures(classified: Classified, n: int, counts: Floats) -> Figures:
    """Figures of one class against the rest.

    ``counts``: ``(replicates, images)``: how often each image counts; in the first row, once.
    """
    # One class against the rest is a finding with the two grades 0 and 1.
    truth, score = classified.truth()[:, [n]], classified.probabilities[:, [n]]
    matrices = (counts @ metrics.study_confusions(truth, classified.decided()[:, [n]], 2)).reshape(-1, 2, 2)
    both = np.stack([1 - score, score], axis=-1)
    return {
        "auc": metrics.areas(truth, score, 1, counts),
        "average_precision": metrics.average_precisions(truth, score, 1, counts),
        "sensitivity": metrics.sensitivities(matrices, 1),
        "specificity": metrics.specificities(matrices, 1),
        "precision": ratio(matrices[:, 1, 1], matrices[:, :, 1].sum(axis=1)),
        "f1": ratio(2 * matrices[:, 1, 1], matrices[:, 1].sum(axis=1) + matrices[:, :, 1].sum(axis=1)),
        "ece": calibration_errors(counts @ bin_sums(truth, both, 1), matrices.sum(axis=(1, 2))),
    }


def overall_figures(classified: Classified, by_class: list[Figures], counts: Floats) -> Figures:
    """Figures of all classes together.

    - ``accuracy``: share of the images, or of the single labels if an image may have several.
    - ``exact_match`` (several labels): share of the images with every label right, among those with all labels known.
    - ``ece``: calibration error of the predicted class (Guo et al., On calibration of modern neural networks, 2017);
      with several labels, the mean of the errors of the classes.
    - ``brier``: sum of the squared errors of all classes if there are more than two; for two classes, or several
      labels, the squared error of one probability.

    ``counts``: as for `class_figures`.
    """
    own = _multilabel_figures(classified, by_class, counts) if classified.multilabel else _figures(classified, counts)
    return {
        **own,
        "macro_f1": _mean([figures["f1"] for figures in by_class]),
        "mean_auc": _mean([figures["auc"] for figures in by_class]),
        "mean_average_precision": _mean([figures["average_precision"] for figures in by_class]),
    }


class ClassificationCharts:
    """Precision-recall curves and confusion matrices; `curves` and `confusions` are arguments of TensorBoard handlers.

    ``classes``: names of the classes, in the order of the probabilities.
    ``thresholds``: as for `Classified`.
    """

    def __init__(self, classes: Sequence[str], thresholds: Floats | None = None) -> None:
        self.classes, self.thresholds = tuple(classes), thresholds

    def curves(self, labels: Ints, probabilities: Floats) -> dict[str, Curve]:
        """A curve ``class/<name>`` of each class against the rest, if it has positive and negative images.

        The arguments are those of `Classified`.
        """
        truth = Classified(labels, probabilities).truth()
        curves = {}
        for n, name in enumerate(self.classes):
            known = truth[:, n] != MISSING
            curves[f"class/{name}"] = Curve(truth[known, n] == 1, probabilities[known, n])
        return {name: curve for name, curve in curves.items() if curve.defined}

    def confusions(self, labels: Ints, probabilities: Floats) -> list[Confusion]:
        """One confusion matrix; with several labels an image, one for each class."""
        classified = Classified(labels, probabilities, self.thresholds)
        matrices = classified.confusions()
        if not classified.multilabel:
            return [Confusion(counted(int(matrices.sum()), "image"), self.classes, matrices)]
        return [Confusion(name, ("no", "yes"), one) for name, one in zip(self.classes, matrices, strict=True)]


def _figures(classified: Classified, counts: Floats) -> Figures:
    labels, decided = classified.labels[:, None], classified.probabilities.argmax(axis=1)[:, None]
    known = counts @ (labels[:, 0] != MISSING)
    cells = counts @ metrics.study_confusions(labels, decided, classified.classes)
    matrices = cells.reshape(len(counts), classified.classes, classified.classes)
    briers = counts @ metrics.study_briers(labels, classified.probabilities[:, None])
    confidence = classified.probabilities.max(axis=1)[:, None]
    # Whether the prediction is correct is a label of its own, and the confidence is the probability of it.
    correct = np.where(labels == MISSING, MISSING, labels == decided)
    errors = counts @ bin_sums(correct, np.stack([1 - confidence, confidence], axis=-1), 1)
    return {
        "accuracy": ratio(np.trace(matrices, axis1=1, axis2=2), known),
        "balanced_accuracy": metrics.balanced_accuracies(matrices),
        # The errors of two classes are equal. Half of their sum is the Brier score as it is defined for one event.
        "brier": ratio(briers, known) / (2 if classified.classes == 2 else 1),
        "ece": calibration_errors(errors, known),
    }


def _multilabel_figures(classified: Classified, by_class: list[Figures], counts: Floats) -> Figures:
    known = classified.labels != MISSING
    correct = (classified.decided() == classified.labels) & known
    all_known = known.all(axis=1)
    squares = np.where(known, (classified.probabilities - classified.labels) ** 2, 0.0)
    return {
        "accuracy": ratio(counts @ correct.sum(axis=1), counts @ known.sum(axis=1)),
        "exact_match": ratio(counts @ correct.all(axis=1), counts @ all_known),
        "balanced_accuracy": _mean([(one["sensitivity"] + one["specificity"]) / 2 for one in by_class]),
        "brier": ratio(counts @ squares.sum(axis=1), counts @ known.sum(axis=1)),
        "ece": _mean([one["ece"] for one in by_class]),
    }


def _mean(values: list[Floats]) -> Floats:
    """The mean over the classes for which the figure is defined, ``(replicates,)``."""
    table = np.stack(values)
    defined = np.isfinite(table)
    return ratio(np.where(defined, table, 0.0).sum(axis=0), defined.sum(axis=0))


CLASS_FIGURES = ("auc", "sensitivity")
"""Figures that are logged for every class."""


class ClassificationFigures(CaseMetric):
    """All figures of an evaluation, each under its own name in the engine's metrics.

    Attach it under the name of one of the figures; that one is the key metric of MONAI's engine. A figure that is not
    defined, such as an AUC without positive or without negative images, is NaN. Classes have ``auc/<class>`` and
    ``sensitivity/<class>``. With several labels an image, an image has a label from a probability of 0.5.

    ``classes``: names of the classes, in the order of the probabilities.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        super().__init__()

    def update(self, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Add labels, ``(images,)`` or ``(images, classes)``, and probabilities, ``(images, classes)``."""
        labels, probabilities = output
        self._cases.add([None] * len(labels), labels, probabilities)

    def compute(self) -> dict[str, float]:
        """All figures of the images of all processes."""
        labels, probabilities = self._cases.arrays()
        return self._values(Classified(labels, probabilities)) if len(labels) else {}

    @property
    def figures(self) -> set[str]:
        """The names of all figures, whether an image has one class or several labels."""
        right = np.eye(len(self.classes))
        one, several = Classified(np.arange(len(right)), right), Classified(right.astype(int), right)
        return {*self._values(one), *self._values(several)}

    def _values(self, classified: Classified) -> dict[str, float]:
        counts = np.ones((1, len(classified.labels)))  # no bootstrap: only the sample itself
        by_class = [class_figures(classified, n, counts) for n in range(len(self.classes))]
        values = {name: float(value[0]) for name, value in overall_figures(classified, by_class, counts).items()}
        for name, figures in zip(self.classes, by_class, strict=True):
            values.update({f"{figure}/{name}": float(figures[figure][0]) for figure in CLASS_FIGURES})
        return values

    def completed(self, engine: Engine, name: str) -> None:
        """Add all figures to the engine's metrics.

        Raises `ValueError` if the name under which this is attached is none of the figures.
        """
        # Ignite's own method refuses the name of a figure, and stores the dictionary under the name, where the engine
        # needs a number. An evaluation without any image still has its key metric.
        values = self.compute()
        if values and name not in values:
            raise ValueError(f"expected one of {', '.join(sorted(values))}, but attached as {name!r}")
        engine.state.metrics.update(values or {name: float("nan")})


def classification_metrics(task: str, classes: Sequence[str]) -> dict[str, Metric]:
    """The key metric of a MONAI evaluator; the other figures come with it."""
    return {Task(task).key_metric: ClassificationFigures(classes)}
