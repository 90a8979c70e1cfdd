"""From where on an image of several labels has one: chosen where labels are known, used where they are not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.files import write_text
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.scoring.figures import ratio
from monai_spine.spine import MISSING

SCHEMA = "monai_spine/thresholds/1"
FILE = "thresholds.json"
"""Where they lie beside the weights."""
HALF = 0.5

Criterion = Literal["f1", "youden"]


def chosen_thresholds(labels: Ints, probabilities: Floats, criterion: Criterion = "f1") -> Floats:
    """The thresholds, ``(classes,)``, that serve best for these images; 0.5 where a class has not both kinds.

    Each lies in the middle between the lowest probability that counts as "yes" and the next one below.

    Parameters
    ----------
    labels
        ``(images, classes)`` of 0, 1 and `MISSING`.
    probabilities
        ``(images, classes)``.
    criterion
        What is to be greatest: ``f1``, or ``youden``, sensitivity and specificity together (Youden, Index for rating
        diagnostic tests, 1950).

    Raises
    ------
    InvalidOptionError
        If there is no such criterion.
    """
    if criterion not in get_args(Criterion):
        raise InvalidOptionError(
            f"expected a criterion among {', '.join(get_args(Criterion))}, but given {criterion!r}"
        )
    return np.array([_chosen(y, p, criterion) for y, p in zip(labels.T, probabilities.T, strict=True)])


def write_thresholds(path: Path, classes: Sequence[str], thresholds: Floats) -> None:
    """One JSON object, whole or not there."""
    values = {name: round(float(value), 6) for name, value in zip(classes, thresholds, strict=True)}
    write_text(path, json.dumps({"schema": SCHEMA, "thresholds": values}, indent=2) + "\n")


def thresholds_beside(weights: str | Path, classes: Sequence[str]) -> Floats:
    """Those that training left beside its weights; errors as of `read_thresholds`."""
    return read_thresholds(Path(weights).with_name(FILE), classes)


def read_thresholds(path: Path, classes: Sequence[str]) -> Floats:
    """The thresholds of these classes, ``(classes,)``.

    Raises
    ------
    MissingInputError
        If the file is not there.
    InvalidTableError
        If it is not such a file, or one of other classes.
    """
    if not path.is_file():
        raise MissingInputError(
            f"expected the thresholds that training leaves beside its weights, but there is no file {path}; copy it "
            "together with them"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise InvalidTableError(f"{path}: expected JSON of {SCHEMA}, but it cannot be read ({err})") from err
    values = content.get("thresholds") if isinstance(content, Mapping) else None
    if not isinstance(values, Mapping) or set(values) != set(classes):
        found = ", ".join(values) if isinstance(values, Mapping) else "none"
        raise InvalidTableError(f"{path}: expected thresholds of {', '.join(classes)}, but found {found}")
    return np.array([float(values[name]) for name in classes])


def _chosen(labels: Ints, probabilities: Floats, criterion: Criterion) -> float:
    known = labels != MISSING
    truth, score = labels[known] == 1, probabilities[known]
    if not 0 < truth.sum() < len(truth):
        return HALF
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    last = np.append(score[1:] != score[:-1], True)  # of those with the same probability, all or none
    right, wrong = truth.cumsum()[last], (~truth).cumsum()[last]
    scores = np.append(score[last], 0.0)
    best = int(np.argmax(_merit(right, wrong, int(truth.sum()), int((~truth).sum()), criterion)))
    return float((scores[best] + scores[best + 1]) / 2) if scores[best + 1] < scores[best] else float(scores[best])


def _merit(right: Ints, wrong: Ints, positives: int, negatives: int, criterion: Criterion) -> Floats:
    """How good it is to say "yes" to so many of the positives and of the negatives."""
    if criterion == "f1":
        return ratio(2.0 * right, right + wrong + positives)
    return np.asarray(right / positives - wrong / negatives, dtype=np.float64)
