"""Figures of classified images, each for the sample and for every bootstrap replicate at once.

Definitions are scikit-learn's; means over classes leave out those for which a figure is not defined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_spine.scoring import figures as metrics
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.figures import ratio
from monai_spine.scoring.reliability import bin_sums, calibration_errors
from monai_spine.spine import MISSING

Figures = dict[str, Floats]
"""Figures by name, ``(replicates,)`` each, the sample itself first."""


@dataclass(frozen=True)
class Classified:
    """Labels of images and what a network says of them, unknown labels and all.

    Attributes
    ----------
    labels
        ``(images,)``, each a class, or ``(images, classes)`` of 0 and 1 if an image may have several; `MISSING` where
        nobody knows.
    probabilities
        ``(images, classes)``; rows sum to 1 where each image has one class.
    thresholds
        ``(classes,)``: from where on an image of several labels has one; of no use to others.
    """

    labels: Ints
    probabilities: Floats
    thresholds: Floats | None = None

    @property
    def several(self) -> bool:
        """Whether an image may have several labels."""
        return self.labels.ndim == 2

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.probabilities.shape[1]

    def truth(self) -> Ints:
        """Each class against the rest, ``(images, classes)`` of 0, 1 and `MISSING`."""
        if self.several:
            return self.labels
        against = (self.labels[:, None] == np.arange(self.classes)).astype(np.int64)
        return np.where(self.labels[:, None] == MISSING, MISSING, against)

    def decided(self) -> Ints:
        """Each class against the rest as decided, ``(images, classes)`` of 0 and 1."""
        if self.several:
            least = np.full(self.classes, 0.5) if self.thresholds is None else self.thresholds
            return (self.probabilities >= least).astype(np.int64)
        return (self.probabilities.argmax(axis=1)[:, None] == np.arange(self.classes)).astype(np.int64)

    def confusions(self) -> Ints:
        """Labels by decided classes, ``(classes, classes)``; of several labels ``(classes, 2, 2)``, one each."""
        if not self.several:
            cells = metrics.study_confusions(
                self.labels[:, None], self.probabilities.argmax(axis=1)[:, None], self.classes
            )
            return cells.sum(axis=0).reshape(self.classes, self.classes).astype(np.int64)
        each = zip(self.labels.T, self.decided().T, strict=True)
        single = [metrics.study_confusions(label[:, None], one[:, None], 2) for label, one in each]
        return np.asarray(single).sum(axis=1).reshape(self.classes, 2, 2).astype(np.int64)


def class_figures(given: Classified, n: int, counts: Floats) -> Figures:
    """How well one class is told from the rest.

    Parameters
    ----------
    n
        Which class.
    counts
        ``(replicates, images)``: how often each image counts, in the first row once.
    """
    truth, score = given.truth()[:, [n]], given.probabilities[:, [n]]
    matrices = (counts @ metrics.study_confusions(truth, given.decided()[:, [n]], 2)).reshape(-1, 2, 2)
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


def overall_figures(given: Classified, each: list[Figures], counts: Floats) -> Figures:
    """Figures of all classes together.

    Accuracy is that of images, or of single labels where an image may have several; there ``exact_match`` is the share
    of images with every label right among those of which all are known. The calibration error is that of the class
    decided for (Guo et al., On calibration of modern neural networks, 2017), or else the mean of the classes'. The
    Brier score is a sum over classes where there are more than two of them, else the squared error of one.

    Parameters
    ----------
    each
        Of `class_figures`, for all classes.
    """
    own = _of_several_labels(given, each, counts) if given.several else _of_one_class(given, counts)
    return {
        **own,
        "macro_f1": _mean([figures["f1"] for figures in each]),
        "mean_auc": _mean([figures["auc"] for figures in each]),
        "mean_average_precision": _mean([figures["average_precision"] for figures in each]),
    }


def _of_one_class(given: Classified, counts: Floats) -> Figures:
    labels, decided = given.labels[:, None], given.probabilities.argmax(axis=1)[:, None]
    known = counts @ (labels[:, 0] != MISSING)
    cells = counts @ metrics.study_confusions(labels, decided, given.classes)
    matrices = cells.reshape(len(counts), given.classes, given.classes)
    briers = counts @ metrics.study_briers(labels, given.probabilities[:, None])
    sure = given.probabilities.max(axis=1)[:, None]
    right = np.where(labels == MISSING, MISSING, labels == decided)
    errors = counts @ bin_sums(right, np.stack([1 - sure, sure], axis=-1), 1)
    return {
        "accuracy": ratio(np.trace(matrices, axis1=1, axis2=2), known),
        "balanced_accuracy": metrics.balanced_accuracies(matrices),
        "brier": ratio(briers, known) / (2 if given.classes == 2 else 1),
        "ece": calibration_errors(errors, known),
    }


def _of_several_labels(given: Classified, each: list[Figures], counts: Floats) -> Figures:
    known = given.labels != MISSING
    right = (given.decided() == given.labels) & known
    whole = known.all(axis=1)
    squares = np.where(known, (given.probabilities - given.labels) ** 2, 0.0)
    return {
        "accuracy": ratio(counts @ right.sum(axis=1), counts @ known.sum(axis=1)),
        "exact_match": ratio(counts @ (whole & right.all(axis=1)), counts @ whole),
        "balanced_accuracy": _mean([(one["sensitivity"] + one["specificity"]) / 2 for one in each]),
        "brier": ratio(counts @ squares.sum(axis=1), counts @ known.sum(axis=1)),
        "ece": _mean([one["ece"] for one in each]),
    }


def _mean(values: list[Floats]) -> Floats:
    """The mean over classes, of those for which the figure is defined."""
    table = np.stack(values)
    defined = np.isfinite(table)
    return ratio(np.where(defined, table, 0.0).sum(axis=0), defined.sum(axis=0))
