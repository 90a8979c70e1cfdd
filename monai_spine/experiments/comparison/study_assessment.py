"""Assessment of graders: the competition's score with its interval, beside the prior's score and the floor."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.data.datalist import label_array, read_content, read_datalist, split_folds
from monai_spine.errors import InvalidTableError, counted
from monai_spine.experiments.comparison.assessment import Assessment, Predicted, check_unseen
from monai_spine.experiments.comparison.candidate import Part
from monai_spine.experiments.fold_run import labels_of
from monai_spine.scoring.competition import JEFFREYS, Floats, competition_score, level_prior
from monai_spine.scoring.patient_resampling import (
    Estimate,
    difference,
    patient_counts,
    score_estimate,
    score_replicates,
)
from monai_spine.scoring.submission import Labels, read_predictions
from monai_spine.spine import MISSING, Condition, columns_of
from monai_spine.tables.score_report import read_floor, share_of_way


class StudyAssessment(Assessment):
    """The studies that every candidate predicts, with their labels, prior and floor.

    ``folds``: the folds to leave out, one training for each.
    ``test``: another datalist, whose studies are predicted instead: its ``test`` section if that has labels, else
    ``training``.
    ``floor``: a phantom cohort's ``floor.json`` or ``truth.csv`` for these studies.
    Raises `MissingInputError` or `InvalidTableError` if a datalist or a fold does not exist, no study has a label,
    patients of the test are trained on, or the floor belongs to other studies.
    """

    key = "score"
    title = "competition score (lower is better)"
    lower_is_better = True

    def __init__(self, datalist: Path, folds: Sequence[int], test: Path | None = None, floor: Path | None = None):
        self.records = read_datalist(datalist)
        self.sides = {fold: split_folds(self.records, fold) for fold in folds}
        self.source = _test_section(test or datalist)
        if test is not None and self.source is None:
            self.source = (test, "training")
        studies = read_datalist(*self.source) if self.source else [r for fold in folds for r in self.sides[fold][1]]
        if self.source:
            check_unseen(studies, self.records, "patient_id", "patients", "studies")
        self.labels = labels_of(studies)
        if (self.labels.grades == MISSING).all():
            raise InvalidTableError(
                f"{datalist}: none of the {counted(len(studies), 'study')} to evaluate on has a label"
            )
        self.counts = patient_counts([record["patient_id"] for record in studies])
        self.patients = len({record["patient_id"] for record in studies})
        self.prior = competition_score(self.labels.grades, self._prior_rows()).as_dict()
        self.floor = read_floor(floor, self.labels).as_dict() if floor else None

    @property
    def shown(self) -> tuple[str, ...]:
        """Further figures for the terminal."""
        return () if self.floor is None else ("share_of_way",)

    def evaluated(self) -> tuple[tuple[str, Any], ...]:
        """Configuration entries that replace the validation's studies; none if these are the studies of the fold."""
        if self.source is None:
            return ()
        path, section = self.source
        return (("validate#dataset#data", f"$datalist.read_datalist({str(path.resolve())!r}, {section!r})"),)

    def predictions(self, predicted: Predicted) -> Floats:
        """A candidate's probabilities, ``(studies, 25, 3)``. A network with ``conditions`` is used for these only."""
        folds = [self._joined(parts, self._labels_of(fold)) for fold, parts in predicted.items()]
        return np.mean(folds, axis=0) if self.source else np.concatenate(folds)

    def rows(self, predictions: Mapping[str, Floats]) -> dict[str, dict[str, float | None]]:
        """The score of every candidate with its interval, share of the way, difference to the best, and parts."""
        replicates = {
            name: score_replicates(self.labels.grades, rows, self.counts) for name, rows in predictions.items()
        }
        scores = {name: score_estimate(parts["score"]) for name, parts in replicates.items()}
        best = min(scores, key=lambda name: scores[name].value) if scores else None
        table = {}
        for name, parts in replicates.items():
            # On the same replicates, which makes the interval of a difference much narrower.
            behind = difference(parts["score"], replicates[best]["score"]) if best else Estimate(0.0, 0.0, 0.0)
            table[name] = {
                **scores[name].as_columns("score"),
                **self._share_of_way(scores[name].value),
                **behind.as_columns("behind_best"),
                **{part: float(figures[0]) for part, figures in parts.items() if part != "score"},
            }
        return table

    def context(self) -> dict[str, Any]:
        """Which studies, and the prior's and the floor's scores of them."""
        where = f"{self.source[0].name}: {self.source[1]}" if self.source else f"held-out folds {list(self.sides)}"
        return {
            "evaluated_on": where,
            "studies": len(self.labels.study_ids),
            "patients": self.patients,
            "prior": self.prior,
            "floor": self.floor,
        }

    def lines(self) -> dict[str, float]:
        """The scores of the prior and of the floor."""
        scores = {"prior": self.prior["score"]}
        return scores if self.floor is None else {**scores, "floor": self.floor["score"]}

    def _share_of_way(self, score: float) -> dict[str, float | None]:
        if self.floor is None:
            return {}
        return {"share_of_way": share_of_way(score, self.prior["score"], self.floor["score"])}

    def _labels_of(self, fold: int) -> Labels:
        return self.labels if self.source else labels_of(self.sides[fold][1])

    def _joined(self, parts: Sequence[tuple[Part, Path]], labels: Labels) -> Floats:
        joined = None
        for part, path in parts:
            probabilities = read_predictions(path, labels).probabilities
            conditions = part.entry("conditions")
            if joined is None or not conditions:
                joined = probabilities
                continue
            own = [n for condition in conditions for n in columns_of(Condition(condition))]
            joined[:, own] = probabilities[:, own]
        return np.asarray(joined)

    def _prior_rows(self) -> Floats:
        """For each study, the per-level prior of the studies that are trained on, ``(studies, 25, 3)``."""
        priors = [level_prior(label_array(training), JEFFREYS) for training, _ in self.sides.values()]
        if self.source:
            return np.broadcast_to(np.mean(priors, axis=0), (len(self.labels.study_ids), *priors[0].shape))
        sizes = [len(validation) for _, validation in self.sides.values()]
        return np.repeat(np.stack(priors), sizes, axis=0)


def _test_section(path: Path) -> tuple[Path, str] | None:
    """The test section of a datalist, if it holds labels."""
    entries = read_content(path).get("test") or []
    labelled = any(grade != MISSING for entry in entries for grade in entry.get("label", []))
    return (path, "test") if labelled else None
