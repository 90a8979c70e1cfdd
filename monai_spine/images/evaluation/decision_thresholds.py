"""The probability from which an image is taken to have a label: chosen in training, used in evaluation and inference.

Only images with several labels need thresholds; otherwise the class with the greatest probability is chosen.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.files import read_json, write_json
from monai_spine.images.data.datalist import Task
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.figures import ratio
from monai_spine.spine import MISSING
from monai_spine.training.best_model import BestModel
from monai_spine.training.engine_output import CollectedCases

logger = logging.getLogger(__name__)

SCHEMA = "monai_spine/thresholds/1"
FILE = "thresholds.json"
"""Name of the file beside the weights."""
_DEFAULT = 0.5

Criterion = Literal["f1", "youden"]


class DecisionThresholds:
    """Chooses the thresholds on the validation whose weights `BestModel` keeps, and writes them beside these weights.

    If each image has one class, it does nothing.

    ``best_model``: keeps the best weights; it must be attached to the evaluator before this handler.
    ``criterion``: see `chosen_thresholds`.
    """

    def __init__(
        self, *, classes: Sequence[str], task: str, best_model: BestModel, criterion: Criterion = "f1"
    ) -> None:
        self.path, self.classes, self.task = Path(best_model.path).with_name(FILE), tuple(classes), Task(task)
        self.best_model, self.criterion = best_model, criterion
        self._cases = CollectedCases()

    def attach(self, evaluator: Engine, trainer: Engine) -> None:
        """Choose after each validation of the trainer that gave the best figure so far."""
        if self.task is Task.MULTILABEL:
            self._cases.attach(evaluator)
            evaluator.add_event_handler(Events.COMPLETED, self._choose, trainer)

    def _choose(self, evaluator: Engine, trainer: Engine) -> None:  # noqa: ARG002
        if self.best_model.best_epoch != trainer.state.epoch:
            return
        labels, probabilities = self._cases.arrays()  # every process takes part in gathering
        if idist.get_rank() == 0:
            write_thresholds(self.path, self.classes, chosen_thresholds(labels, probabilities, self.criterion))
            logger.info("epoch %d: thresholds of the best weights: %s", trainer.state.epoch, self.path)


def chosen_thresholds(labels: Ints, probabilities: Floats, criterion: Criterion = "f1") -> Floats:
    """The threshold of each class that is best for these images, ``(classes,)``.

    Each lies halfway between the lowest probability that counts as "present" and the next lower one. A class that no
    image has, or that every image has, gets 0.5.

    ``labels``: ``(images, classes)`` of 0, 1 and `MISSING`.
    ``probabilities``: ``(images, classes)``.
    ``criterion``: what is maximised: ``f1``, or ``youden``, the sum of sensitivity and specificity (Youden, Index for
    rating diagnostic tests, 1950).
    Raises `InvalidOptionError` if there is no such criterion.
    """
    if criterion not in get_args(Criterion):
        raise InvalidOptionError(
            f"expected a criterion among {', '.join(get_args(Criterion))}, but given {criterion!r}"
        )
    return np.array([_chosen(y, p, criterion) for y, p in zip(labels.T, probabilities.T, strict=True)])


def write_thresholds(path: Path, classes: Sequence[str], thresholds: Floats) -> None:
    """Write a JSON object with the threshold of each class, whole or not at all."""
    values = {name: round(float(value), 6) for name, value in zip(classes, thresholds, strict=True)}
    write_json(path, {"schema": SCHEMA, "thresholds": values})


def thresholds_beside(weights: str | Path, classes: Sequence[str]) -> Floats:
    """The thresholds of these classes, ``(classes,)``, that training wrote beside its weights.

    Raises `MissingInputError` if there is no such file.
    Raises `InvalidTableError` if the file does not hold thresholds, or those of other classes.
    """
    path = Path(weights).with_name(FILE)
    if not path.is_file():
        raise MissingInputError(
            f"expected the thresholds that training leaves beside its weights, but there is no file {path}; copy it "
            "together with them"
        )
    content = read_json(path)
    values = content.get("thresholds") if isinstance(content, Mapping) else None
    if not isinstance(values, Mapping) or set(values) != set(classes):
        names = ", ".join(values) if isinstance(values, Mapping) else "none"
        raise InvalidTableError(f"{path}: expected thresholds of {', '.join(classes)}, but found {names}")
    return np.array([float(values[name]) for name in classes])


def _chosen(labels: Ints, probabilities: Floats, criterion: Criterion) -> float:
    known = labels != MISSING
    present, score = labels[known] == 1, probabilities[known]
    if not 0 < present.sum() < len(present):
        return _DEFAULT
    order = np.argsort(-score, kind="stable")
    present, score = present[order], score[order]
    # A threshold cannot separate equal probabilities: only the last image of each value is a candidate.
    last = np.append(score[1:] != score[:-1], True)
    true_positives, false_positives = present.cumsum()[last], (~present).cumsum()[last]
    candidates = np.append(score[last], 0.0)  # below the lowest probability comes 0
    positives, negatives = int(present.sum()), int((~present).sum())
    if criterion == "f1":
        merit = ratio(2.0 * true_positives, true_positives + false_positives + positives)
    else:
        merit = np.asarray(true_positives / positives - false_positives / negatives, dtype=np.float64)
    best = int(np.argmax(merit))  # of equal merit, the highest threshold
    # Halfway to the next candidate, so that rounding of probabilities moves no image across the threshold.
    return float((candidates[best] + candidates[best + 1]) / 2)
