"""``monai-spine score``: a submission's score, beside the scores of answers that know nothing of the images."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from monai_spine.errors import InvalidTableError
from monai_spine.scoring.competition import (
    JEFFREYS,
    Score,
    competition_score,
    constant_score,
    level_prior,
    uniform_rows,
)
from monai_spine.scoring.submission import read_labels, read_predictions
from monai_spine.spine import MISSING
from monai_spine.tables.floor import read_floor, share_of_way


@dataclass(frozen=True)
class ScoreReport:
    """Scores of a submission and of its references, on the same labelled rows."""

    submission: Score
    prior: Score
    uniform: Score
    """``prior``, ``uniform``: scores of the per-level weighted prior, and of a third for each grade."""
    studies: int
    rows: int
    """``studies``, ``rows``: how many studies and labelled rows were scored."""
    filled: int
    """How many of these rows the submission lacked."""
    floor: Score | None = None
    """The best score that anyone can expect; None where it is not known."""

    def share_of_way(self) -> dict[str, float] | None:
        """`floor.share_of_way` of the score and of its parts; None without a floor."""
        if self.floor is None:
            return None
        scores, prior, floor = (score.as_dict() for score in (self.submission, self.prior, self.floor))
        return {part: share_of_way(score, prior[part], floor[part]) for part, score in scores.items()}

    def to_json(self) -> str:
        """One JSON object: the submission's five figures, and the references with their parts."""
        references = {name: score for name, score in self._columns().items() if name != "submission"}
        figures: dict[str, object] = {
            **self.submission.as_dict(),
            **{name: score.score for name, score in references.items()},
            "studies": self.studies,
            "rows": self.rows,
            "filled": self.filled,
            "references": {name: score.as_dict() for name, score in references.items()},
        }
        share = self.share_of_way()
        if share is not None:
            figures |= {"share_of_way": share["score"], "share_of_way_in_parts": share}
        return json.dumps(figures, indent=2)

    def to_text(self) -> str:
        """A table to read."""
        columns = self._columns()
        share = self.share_of_way()
        heads = [*columns, *(["prior→floor"] if share else [])]
        lines = [f"{'':20}" + "".join(f"{name:>12}" for name in heads)]
        for part in self.submission.as_dict():
            figures = "".join(f"{column.as_dict()[part]:12.4f}" for column in columns.values())
            lines.append(f"{part:20}{figures}" + (f"{share[part]:12.0%}" if share else ""))
        filled = f", {self.filled} of them filled in" if self.filled else ""
        lines.append(f"{self.studies} studies, {self.rows} labelled rows{filled}; lower is better")
        return "\n".join(lines)

    def _columns(self) -> dict[str, Score]:
        scores = {"submission": self.submission, "prior": self.prior, "uniform": self.uniform}
        return scores if self.floor is None else {**scores, "floor": self.floor}


def report_score(
    solution: Path,
    submission: Path,
    missing: Literal["uniform", "prior"] | None = None,
    prior_from: Path | None = None,
    floor: Path | None = None,
) -> ScoreReport:
    """Score a submission's file against a solution's file.

    ``missing``: how to fill rows that the submission lacks (see `read_predictions`); None raises an error.
    ``prior_from``: labels to learn the prior from. By default the solution's own, which makes the prior look better
    than it is.
    ``floor``: a phantom cohort's ``floor.json`` or ``truth.csv`` (see `read_floor`).
    Raises `MissingInputError` or `InvalidTableError` as `read_labels`, `read_predictions` and `read_floor` do, and if a
    part of the score has no label at all.
    """
    labels = read_labels(solution)
    predictions = read_predictions(submission, labels, missing)
    score = competition_score(labels.grades, predictions.probabilities)
    # A mean of three parts would look like a score, but could not be compared with any other.
    empty = [part for part, value in score.as_dict().items() if math.isnan(value) and part != "score"]
    if empty:
        raise InvalidTableError(f"{solution} holds no label for {', '.join(empty)}, so there is no score")
    prior = level_prior(read_labels(prior_from).grades, JEFFREYS) if prior_from else level_prior(labels.grades)
    return ScoreReport(
        submission=score,
        prior=constant_score(labels.grades, prior),
        uniform=constant_score(labels.grades, uniform_rows()),
        studies=len(labels.study_ids),
        rows=int((labels.grades != MISSING).sum()),
        filled=predictions.filled,
        floor=read_floor(floor, labels) if floor else None,
    )
