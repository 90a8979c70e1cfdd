"""How wrong a classifier was about an image, and in which words to say it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_spine.images.evaluation.figures import Classified
from monai_spine.scoring.competition import Floats, Ints
from monai_spine.spine import MISSING

_LEAST = 1e-9


@dataclass(frozen=True)
class Judgement:
    """What was said of an image.

    Attributes
    ----------
    case
        Its place in the dataset.
    loss
        Cross-entropy: of the label, or the mean over the labels that are known.
    right
        Whether the class decided for is the label, or all known labels are right.
    about
        The class that decides this: the one wrongly said, else the one missed, else the surest of the labels.
    said
        In words.
    """

    case: Any
    loss: float
    right: bool
    about: int
    said: str


def judgements(
    labels: Ints, probabilities: Floats, cases: Sequence[Hashable], classes: Sequence[str]
) -> list[Judgement]:
    """Judgements of all images with a label, the greatest loss first.

    Parameters
    ----------
    labels, probabilities
        As for `Classified`.
    cases
        Of each image, its place in the dataset.
    classes
        Their names.
    """
    given = Classified(labels, probabilities)
    truth, decided = given.truth(), given.decided()
    rows = zip(cases, truth, decided, probabilities, strict=True)
    judge = _several_labels if given.several else _one_class
    found = [judge(case, y, d, p, classes) for case, y, d, p in rows if (y != MISSING).any()]
    return sorted(found, key=lambda one: -one.loss)


def _one_class(case: Hashable, truth: Ints, decided: Ints, rows: Floats, classes: Sequence[str]) -> Judgement:
    label, chosen = int(truth.argmax()), int(decided.argmax())
    said = f"{classes[chosen]} {rows[chosen]:.2f}"
    if label != chosen:
        said = f"is {classes[label]} {rows[label]:.2f}, said {said}"
    return Judgement(case, float(-np.log(max(rows[label], _LEAST))), label == chosen, chosen, said)


def _several_labels(case: Hashable, truth: Ints, decided: Ints, rows: Floats, classes: Sequence[str]) -> Judgement:
    known = truth != MISSING
    chances = np.where(truth == 1, rows, 1 - rows)
    loss = float(-np.log(np.maximum(chances[known], _LEAST)).mean())
    wrong = known & (truth != decided)
    about = (
        int(np.where(wrong, -chances, -2.0).argmax()) if wrong.any() else int(np.where(truth == 1, rows, -1).argmax())
    )
    parts = {
        "wrongly ": wrong & (decided == 1),
        "missed ": wrong & (decided == 0),
        "": known & ~wrong & (truth == 1),
    }
    words = [
        f"{word}{classes[n]} {rows[n]:.2f}" for word, which in parts.items() for n in np.flatnonzero(which).tolist()
    ]
    return Judgement(case, loss, not wrong.any(), about, ", ".join(words) or "nothing")
