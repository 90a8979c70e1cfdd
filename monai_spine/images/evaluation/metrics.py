"""The Ignite metric of classified images: all figures at once, and which of them chooses the best weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric

from monai_spine.images.data.datalist import Task
from monai_spine.images.evaluation.figures import Classified, class_figures, overall_figures
from monai_spine.training.engine_output import Answers

CLASS_FIGURES = ("auc", "sensitivity")
"""Figures that are logged for every class."""


class ClassificationFigures(Metric):
    """All figures of an evaluation, each under its own name in the engine's metrics.

    Attach it under the name of one of the figures; that one is the key metric of MONAI's engine. A figure that is not
    defined, such as an AUC without positive or without negative images, is NaN. Classes have ``auc/<class>`` and
    ``sensitivity/<class>``. With several labels an image, an image has a label from a probability of 0.5.

    Parameters
    ----------
    classes
        Names of the classes, in the order of the probabilities.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self._answers = Answers()
        super().__init__()

    def reset(self) -> None:
        """Forget the images."""
        self._answers.reset()

    def iteration_completed(self, engine: Engine) -> None:
        """Add labels and probabilities of the engine's last iteration."""
        self._answers.collect(engine)

    def update(self, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Add labels, ``(images,)`` or ``(images, classes)``, and probabilities, ``(images, classes)``."""
        labels, probabilities = output
        self._answers.add([None] * len(labels), labels, probabilities)

    def compute(self) -> dict[str, float]:
        """All figures of the images of all processes."""
        labels, probabilities = self._answers.arrays()
        if not len(labels):
            return {}
        classified = Classified(labels, probabilities)
        counts = np.ones((1, len(labels)))  # no bootstrap: only the sample itself
        by_class = [class_figures(classified, n, counts) for n in range(len(self.classes))]
        values = {name: float(value[0]) for name, value in overall_figures(classified, by_class, counts).items()}
        for name, figures in zip(self.classes, by_class, strict=True):
            values.update({f"{figure}/{name}": float(figures[figure][0]) for figure in CLASS_FIGURES})
        return values

    def completed(self, engine: Engine, name: str) -> None:
        """Add all figures to the engine's metrics.

        Raises
        ------
        ValueError
            If the name under which this is attached is none of the figures.
        """
        # Ignite's own method refuses the name of a figure, and stores the dictionary under the name, where the engine
        # needs a number. An evaluation without any image still has its key metric.
        values = self.compute()
        if values and name not in values:
            raise ValueError(f"expected one of {', '.join(sorted(values))}, but attached as {name!r}")
        engine.state.metrics.update(values or {name: float("nan")})


def key_name(task: str) -> str:
    """The figure that chooses the best weights, higher is better: balanced accuracy; with several labels mean AUC."""
    return "mean_auc" if Task(task) is Task.MULTILABEL else "balanced_accuracy"


def classification_metrics(task: str, classes: Sequence[str]) -> dict[str, Metric]:
    """The key metric of a MONAI evaluator; the other figures come with it."""
    return {key_name(task): ClassificationFigures(classes)}
