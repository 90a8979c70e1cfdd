"""What graders of studies are worth: the competition's score with its interval, beside the prior's and the floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.data.datalist import Record, label_array, read_content, read_datalist, split_folds
from monai_spine.errors import InvalidTableError
from monai_spine.experiments.comparison.candidate import Part
from monai_spine.experiments.comparison.judge import named
from monai_spine.scoring.bootstrap import Estimate, patient_counts
from monai_spine.scoring.competition import Floats, competition_score, level_prior
from monai_spine.scoring.submission import Labels, read_predictions
from monai_spine.spine import FINDINGS, MISSING, Condition
from monai_spine.tables.floor import read_floor
from monai_spine.tables.score_intervals import difference, score_estimate, score_replicates

_PSEUDO_COUNT = 0.5


class StudyJudge:
    """Holds the studies that every candidate is asked about, and what is known of them.

    These are those of the datalist's ``test`` section if it has labels, else of the folds left out of training.

    Parameters
    ----------
    datalist
        With folds.
    folds
        To leave out, one training each.
    test
        Another datalist, whose studies to ask about; its ``test`` section if that has labels, else ``training``.
    floor
        A phantom cohort's ``floor.json`` or ``truth.csv`` for these studies.

    Raises
    ------
    MissingInputError, InvalidTableError
        If a datalist or a fold is not there, no study has a label, studies of the test are trained on, or the floor
        is of others.
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
        asked = read_datalist(*self.source) if self.source else [r for fold in folds for r in self.sides[fold][1]]
        if self.source:
            _check_unseen(asked, self.records)
        self.labels = Labels(tuple(record["study_id"] for record in asked), label_array(asked))
        if (self.labels.grades == MISSING).all():
            raise InvalidTableError(f"{datalist}: none of the {len(asked)} studies to ask about has a label")
        self.counts = patient_counts([record["patient_id"] for record in asked])
        self.patients = len({record["patient_id"] for record in asked})
        self.prior = competition_score(self.labels.grades, self._prior_rows()).as_dict()
        self.floor = read_floor(floor, self.labels).as_dict() if floor else None

    @property
    def shown(self) -> tuple[str, ...]:
        """Further figures for the terminal."""
        return () if self.floor is None else ("share_of_way",)

    @property
    def folds(self) -> list[int]:
        """Those that are left out."""
        return list(self.sides)

    def asked(self) -> tuple[tuple[str, Any], ...]:
        """Configuration entries that put the studies into the validation's place; none for the fold's own."""
        if self.source is None:
            return ()
        path, section = self.source
        return (("validate#dataset#data", f"$datalist.read_datalist({str(path.resolve())!r}, {section!r})"),)

    def sizes(self, fold: int) -> tuple[int, int]:
        """Studies to train on, and to validate on."""
        training, validation = self.sides[fold]
        return len(training), len(validation)

    def answers(self, said: Mapping[int, Sequence[tuple[Part, Path]]]) -> Floats:
        """A candidate's probabilities, ``(studies, 25, 3)``.

        Parameters
        ----------
        said
            By fold, each network and its predictions. Networks with ``conditions`` answer for these alone; folds are
            joined, or averaged where all were asked about the same test studies.

        Raises
        ------
        MissingInputError, InvalidTableError
            If a file is not there or does not fit.
        """
        folds = [self._joined(parts, self._labels_of(fold)) for fold, parts in said.items()]
        return np.mean(folds, axis=0) if self.source else np.concatenate(folds)

    def rows(self, answers: Mapping[str, Floats]) -> dict[str, dict[str, float | None]]:
        """Figures of every candidate: score, interval, share of the way, difference to the best, parts."""
        drawn = {name: score_replicates(self.labels.grades, said, self.counts) for name, said in answers.items()}
        scores = {name: score_estimate(parts["score"]) for name, parts in drawn.items()}
        best = min(scores, key=lambda name: scores[name].value) if scores else None
        table = {}
        for name, parts in drawn.items():
            behind = difference(parts["score"], drawn[best]["score"]) if best else Estimate(0.0, 0.0, 0.0)
            table[name] = {
                **named("score", scores[name]),
                **self._way(scores[name].value),
                **named("behind_best", behind),
                **{part: float(figures[0]) for part, figures in parts.items() if part != "score"},
            }
        return table

    def context(self) -> dict[str, Any]:
        """What the figures are to be held against."""
        where = f"{self.source[0].name}: {self.source[1]}" if self.source else f"held-out folds {list(self.sides)}"
        return {
            "evaluated_on": where,
            "studies": len(self.labels.study_ids),
            "patients": self.patients,
            "prior": self.prior,
            "floor": self.floor,
        }

    def lines(self) -> dict[str, float]:
        """Of the picture."""
        known = {"prior": self.prior["score"]}
        return known if self.floor is None else {**known, "floor": self.floor["score"]}

    def _way(self, score: float) -> dict[str, float | None]:
        if self.floor is None:
            return {}
        prior, floor = self.prior["score"], self.floor["score"]
        return {"share_of_way": (prior - score) / (prior - floor)}

    def _labels_of(self, fold: int) -> Labels:
        if self.source:
            return self.labels
        records = self.sides[fold][1]
        return Labels(tuple(record["study_id"] for record in records), label_array(records))

    def _joined(self, parts: Sequence[tuple[Part, Path]], labels: Labels) -> Floats:
        answers = None
        for part, path in parts:
            said = read_predictions(path, labels).probabilities
            conditions = part.entry("conditions")
            if answers is None or not conditions:
                answers = said
                continue
            own = [n for n, finding in enumerate(FINDINGS) if finding.condition in map(Condition, conditions)]
            answers[:, own] = said[:, own]
        return np.asarray(answers)

    def _prior_rows(self) -> Floats:
        """What the weighted shares of grades among the training studies say of each study, ``(studies, 25, 3)``."""
        known = [level_prior(label_array(training), _PSEUDO_COUNT) for training, _ in self.sides.values()]
        if self.source:
            return np.broadcast_to(np.mean(known, axis=0), (len(self.labels.study_ids), *known[0].shape))
        sizes = [len(validation) for _, validation in self.sides.values()]
        return np.repeat(np.stack(known), sizes, axis=0)


def _test_section(path: Path) -> tuple[Path, str] | None:
    """The test section of a datalist, if it holds labels."""
    entries = read_content(path).get("test") or []
    labelled = any(grade != MISSING for entry in entries for grade in entry.get("label", []))
    return (path, "test") if labelled else None


def _check_unseen(asked: Sequence[Record], records: Sequence[Record]) -> None:
    shared = {record["patient_id"] for record in asked} & {record["patient_id"] for record in records}
    if shared:
        raise InvalidTableError(
            f"{len(shared)} patients of the test have studies in training, too, such as {min(shared)}; take them out"
        )
