"""``monai-spine score``: a submission's score, beside those of answers that know nothing of the images, and the floor.

The floor is the best score that anyone can expect. It is known for phantom cohorts, which have the probabilities of
their labels: a cohort writes it as ``floor.json``, with the probability of every label in ``truth.csv``.
"""

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np

from monai_spine.errors import InvalidTableError, MissingInputError, counted, listed
from monai_spine.files import read_json
from monai_spine.scoring.competition import (
    JEFFREYS,
    Floats,
    Score,
    competition_score,
    constant_score,
    level_prior,
    uniform_rows,
)
from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.scoring.submission import Labels, read_labels, read_predictions, read_table
from monai_spine.spine import FINDINGS, MISSING, Grade


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
        lines.append(f"{counted(self.studies, 'study')}, {counted(self.rows, 'labelled row')}{filled}; lower is better")
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


_INDEX = {(finding.condition.value, finding.level.value): n for n, finding in enumerate(FINDINGS)}
_COLUMNS = ["study_id", "condition", "level", *(grade.column for grade in Grade)]


def share_of_way(score: float, prior: float, floor: float) -> float:
    """The share of the way from the prior's score (0) to the floor (1) that a score has come.

    Below 0, the score is worse than the prior's; above 1, the labels that were drawn are luckier than expected.
    """
    return (prior - score) / (prior - floor)


def read_floor(path: Path, solution: Labels) -> Score:
    """The floor of a solution's labels.

    ``path``: a ``floor.json``, which holds for all studies of its cohort together, or a ``truth.csv``, from which the
    floor of any part of the cohort is computed.
    Raises `MissingInputError` or `InvalidTableError` if the file does not exist, has another form, or belongs to other
    studies.
    """
    if not path.is_file():
        raise MissingInputError(f"expected a floor.json or truth.csv, but there is no file {path}")
    if path.suffix == ".csv":
        return competition_score(solution.grades, best_rows(path, solution))
    return _from_json(path, solution)


def _from_json(path: Path, solution: Labels) -> Score:
    try:
        content = read_json(path)
        parts = {field.name: float(content["floor"][field.name]) for field in fields(Score)}
        studies = int(content["studies"])
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidTableError(f"{path}: expected the floor.json of a phantom cohort ({err!r})") from err
    if not all(math.isfinite(value) for value in parts.values()):
        raise InvalidTableError(f"{path}: expected finite figures, but found {parts}")
    if studies != len(solution.study_ids):
        raise InvalidTableError(
            f"{path} is the floor of {counted(studies, 'study')}, but the solution holds {len(solution.study_ids)}; "
            "give the cohort's truth.csv instead, from which the floor of a part is computed"
        )
    return Score(**parts)


def best_rows(path: Path, solution: Labels) -> Floats:
    """The submission with the least expected loss, ``(studies, 25, 3)``, from a phantom cohort's ``truth.csv``.

    Raises `MissingInputError` or `InvalidTableError` if the file does not exist, has another form, or lacks a study.
    """
    table = read_table(path)
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing:
        raise InvalidTableError(f"{path}: expected the columns {_COLUMNS}, but {missing} are missing")
    posterior = np.full((len(solution.study_ids), len(FINDINGS), len(Grade)), np.nan)
    place = {study: n for n, study in enumerate(solution.study_ids)}
    for row in table[_COLUMNS].to_dict("records"):
        study, finding = place.get(row["study_id"]), _INDEX.get((row["condition"], row["level"]))
        if study is not None and finding is not None:
            posterior[study, finding] = _probabilities(path, row)
    unknown = [study for study, rows in zip(solution.study_ids, posterior, strict=True) if np.isnan(rows).any()]
    if unknown:
        raise InvalidTableError(f"{path} lacks findings of studies of the solution: {listed(unknown)}")
    # It is proportional to the probability of each grade times its weight.
    return np.asarray(posterior * WEIGHTS)


def _probabilities(path: Path, row: Mapping[Hashable, str]) -> list[float]:
    try:
        values = [float(row[grade.column]) for grade in Grade]
    except ValueError:
        values = [math.nan]
    if not all(value >= 0 for value in values) or not 0 < sum(values) < math.inf:
        where = f"study {row['study_id']}, {row['condition']} {row['level']}"
        raise InvalidTableError(f"{path}: expected a probability for each grade of {where}")
    return values
