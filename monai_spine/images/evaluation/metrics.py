"""Ignite metrics of classified images: many figures from one collection, and which of them chooses the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric

from monai_spine.images.data.datalist import Task
from monai_spine.images.evaluation.figures import Classified, class_figures, overall_figures
from monai_spine.scoring.competition import Floats
from monai_spine.training.engine_output import Answers

DETAILS = ("auc", "sensitivity")
"""What is logged of every class."""


class ClassificationFigures(Metric):
    """All figures of an evaluation, each under its own name among the engine's metrics.

    Attach it under the name of one of them: MONAI's engines then find their key metric. Figures that are not defined,
    such as an area without both kinds of label, are NaN. Of classes there are ``auc/<class>`` and
    ``sensitivity/<class>``.

    Parameters
    ----------
    classes
        Their names, in the order of the probabilities.
    thresholds
        ``(classes,)``: from where on an image of several labels has one; None takes 0.5.
    """

    def __init__(self, classes: Sequence[str], thresholds: Floats | None = None) -> None:
        self.classes, self.thresholds = list(classes), thresholds
        self._answers = Answers()
        super().__init__()

    def reset(self) -> None:
        """Forget the images."""
        self._answers.reset()

    def iteration_completed(self, engine: Engine) -> None:
        """Take labels and probabilities from what the engine has made."""
        self._answers.collect(engine)

    def update(self, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Take labels and probabilities, ``(images,)`` or ``(images, classes)`` and ``(images, classes)``."""
        labels, probabilities = output
        self._answers.add([None] * len(labels), labels, probabilities)

    def compute(self) -> dict[str, float]:
        """All figures of the images of all processes."""
        labels, probabilities = self._answers.arrays()
        if not len(labels):
            return {}
        given = Classified(labels, probabilities, self.thresholds)
        once = np.ones((1, len(labels)))
        each = [class_figures(given, n, once) for n in range(len(self.classes))]
        found = {name: float(value[0]) for name, value in overall_figures(given, each, once).items()}
        for name, figures in zip(self.classes, each, strict=True):
            found.update({f"{detail}/{name}": float(figures[detail][0]) for detail in DETAILS})
        return found

    def completed(self, engine: Engine, name: str) -> None:
        """Put every figure among the engine's metrics.

        Raises
        ------
        ValueError
            If the name under which this is attached is none of the figures.
        """
        found = self.compute()
        if found and name not in found:
            raise ValueError(f"expected one of {', '.join(sorted(found))}, but attached as {name!r}")
        engine.state.metrics.update(found or {name: float("nan")})


def key_name(task: str) -> str:
    """The figure that chooses the model, the higher the better: balanced accuracy, or of several labels mean AUC."""
    return "mean_auc" if Task(task) is Task.MULTILABEL else "balanced_accuracy"


def classification_metrics(task: str, classes: Sequence[str]) -> dict[str, Metric]:
    """What a MONAI evaluator takes as key metric; the other figures come with it."""
    return {key_name(task): ClassificationFigures(classes)}
