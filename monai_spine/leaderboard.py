"""A submission's score beside what knowing nothing would score."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from monai_spine.errors import InvalidTableError
from monai_spine.scoring import Score, competition_score, constant_score, level_prior, uniform_rows
from monai_spine.spine import MISSING
from monai_spine.submission import read_labels, read_predictions

_PSEUDO_COUNT = 0.5
"""Studies of each grade added to a prior learnt elsewhere (Jeffreys' choice), so that it never says never."""


@dataclass(frozen=True)
class Comparison:
    """Scores of a submission, of the per-level weighted prior and of the uniform answer, on the same labelled rows."""

    submission: Score
    prior: Score
    uniform: Score
    studies: int
    rows: int
    filled: int

    def to_json(self) -> str:
        """One JSON object: the submission's five figures, and the scores of prior and uniform."""
        figures = {
            **self.submission.as_dict(),
            "prior": self.prior.score,
            "uniform": self.uniform.score,
            "studies": self.studies,
            "rows": self.rows,
            "filled": self.filled,
        }
        return json.dumps(figures, indent=2)

    def to_text(self) -> str:
        """A table to read."""
        columns = {"submission": self.submission, "prior": self.prior, "uniform": self.uniform}
        lines = [f"{'':20}" + "".join(f"{name:>12}" for name in columns)]
        for part in self.submission.as_dict():
            lines.append(f"{part:20}" + "".join(f"{column.as_dict()[part]:12.4f}" for column in columns.values()))
        filled = f", {self.filled} of them filled in" if self.filled else ""
        lines.append(f"{self.studies} studies, {self.rows} labelled rows{filled}; lower is better")
        return "\n".join(lines)


def compare(
    solution: Path, submission: Path, missing: Literal["uniform", "prior"] | None = None, prior_from: Path | None = None
) -> Comparison:
    """Score a submission's file against a solution's.

    Parameters
    ----------
    missing
        What to fill rows with that the submission lacks; without it they are an error.
    prior_from
        Labels to learn the prior from; by default the solution's own, which flatters the prior.

    Raises
    ------
    MissingInputError, InvalidTableError
        As `read_labels` and `read_predictions` do, and if a part of the score has no label at all.
    """
    labels = read_labels(solution)
    predictions = read_predictions(submission, labels, missing)
    score = competition_score(labels.grades, predictions.probabilities)
    empty = [part for part, value in score.as_dict().items() if math.isnan(value) and part != "score"]
    if empty:
        raise InvalidTableError(f"{solution} holds no label for {', '.join(empty)}, so there is no score")
    prior = level_prior(read_labels(prior_from).grades, _PSEUDO_COUNT) if prior_from else level_prior(labels.grades)
    return Comparison(
        submission=score,
        prior=constant_score(labels.grades, prior),
        uniform=constant_score(labels.grades, uniform_rows()),
        studies=len(labels.study_ids),
        rows=int((labels.grades != MISSING).sum()),
        filled=predictions.filled,
    )
