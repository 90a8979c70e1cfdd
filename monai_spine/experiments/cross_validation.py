"""Cross-validation of a grader's bundle: one training for each fold, and its predictions of the studies left out."""

import filecmp
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_spine.bundle.model_description import description_path
from monai_spine.bundle.planned_settings import refuse_settings
from monai_spine.bundle.run import Report, Settings, training_configs
from monai_spine.data.datalist import Record, label_array, read_datalist, split_folds
from monai_spine.errors import InvalidOptionError, counted
from monai_spine.experiments.fold_run import (
    FoldRun,
    labels_of,
    prefixed,
)
from monai_spine.files import whole_file, write_json, write_text
from monai_spine.output_lock import output_lock
from monai_spine.scoring.competition import JEFFREYS, Floats, against_prior, competition_score, level_prior
from monai_spine.scoring.submission import read_predictions, write_predictions
from monai_spine.spine import MISSING, TARGETS, Grade


@dataclass(frozen=True)
class Plan:
    """What to train."""

    bundle: Path
    """A folder with ``configs/train.json`` and ``configs/evaluate.json``."""
    datalist: Path
    """A datalist with folds."""
    overrides: tuple[Path, ...] = ()
    """Further configuration files or names of presets (see `training_configs`)."""
    settings: Settings = ()
    """Configuration entries by name, such as ``epochs``."""


@dataclass(frozen=True)
class Outcome:
    """The competition's score of each fold's studies, and of all studies together.

    ``prior``: the score of the prior on all studies; each study's is learnt from the studies of the other folds.
    """

    folds: dict[int, float]
    score: float
    prior: float
    studies: int

    def line(self) -> str:
        """For the terminal."""
        each = ", ".join(f"{fold}: {score:.4f}" for fold, score in self.folds.items())
        return (
            f"{counted(self.studies, 'study')}, out-of-fold score {self.score:.4f} (lower is better; folds {each}), "
            f"{against_prior(self.score, self.prior)}"
        )


def cross_validate(plan: Plan, out: Path, folds: Sequence[int] | None, report: Report) -> Outcome:
    """Train and evaluate fold by fold, and join the predictions of the studies left out.

    Writes ``fold_<n>/`` with weights, TensorBoard's events and ``log.txt``; ``models/fold_<n>.pt``;
    ``out_of_fold.csv``; ``solution.csv`` with the labels of the same studies; and ``cross_validation.json``. A fold
    that was finished with the same configuration, settings and datalist is not trained again. A fold whose training
    was killed resumes after its last complete epoch.

    ``folds``: the folds to train; all folds of the datalist if None.
    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` if the bundle, the datalist or a fold does
    not exist, or a setting is unknown or impossible; then nothing is written.
    Raises `BundleRunError` if a training fails, and `OutputError` if another process works in ``out``.
    """
    records = read_datalist(plan.datalist)
    chosen = _chosen(records, folds)
    for fold in chosen:
        split_folds(records, fold)  # raises an error before the first training, not after it
    refuse_settings(training_configs(plan.bundle, plan.overrides), plan.settings)
    with output_lock(out):
        for number, fold in enumerate(chosen, start=1):
            _run_fold(plan, fold, out / f"fold_{fold}", prefixed(report, f"[{number}/{len(chosen)}] fold {fold}: "))
        return _joined(records, chosen, out)


def _chosen(records: Sequence[Record], folds: Sequence[int] | None) -> list[int]:
    existing = sorted({record["fold"] for record in records if record["fold"] is not None})
    chosen = existing if folds is None else sorted(set(folds))
    if not chosen or not set(chosen) <= set(existing):
        raise InvalidOptionError(f"expected folds out of {existing}, but found {chosen}")
    return chosen


def _run_fold(plan: Plan, fold: int, root: Path, report: Report) -> None:
    """Train and evaluate one fold, unless it is done."""
    configs = tuple(training_configs(plan.bundle, plan.overrides))
    run = FoldRun(configs, plan.settings, plan.bundle, plan.datalist, fold, root)
    if run.is_done:
        report("done before")
    else:
        run.train(report)
        run.evaluate()
    weights, copied = root / "models/model.pt", root.parent / f"models/fold_{fold}.pt"
    for source, target in ((description_path(weights), description_path(copied)), (weights, copied)):
        # Also of a fold that was done before: a kill may have come between its evaluation and this.
        if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
            with whole_file(target) as partial:
                shutil.copyfile(source, partial)


def _joined(records: Sequence[Record], folds: Sequence[int], out: Path) -> Outcome:
    """Write the tables of all folds' studies, and compute their scores."""
    parts = {fold: labels_of([record for record in records if record["fold"] == fold]) for fold in folds}
    predicted = {
        fold: read_predictions(out / f"fold_{fold}/eval/predictions.csv", labels).probabilities
        for fold, labels in parts.items()
    }
    scores = {fold: float(competition_score(parts[fold].grades, predicted[fold]).score) for fold in folds}
    probabilities = np.concatenate([predicted[fold] for fold in folds])
    grades = np.concatenate([parts[fold].grades for fold in folds])
    study_ids = [study_id for fold in folds for study_id in parts[fold].study_ids]
    # Concatenated, not averaged: each study was held out exactly once.
    write_predictions(out / "out_of_fold.csv", study_ids, probabilities)
    write_text(out / "solution.csv", _solution(study_ids, grades))
    priors = [_prior(records, fold, len(parts[fold].grades)) for fold in folds]
    score, prior = (competition_score(grades, rows).score for rows in (probabilities, np.concatenate(priors)))
    outcome = Outcome(scores, float(score), float(prior), len(study_ids))
    content = {"score": outcome.score, "prior": outcome.prior, "folds": scores, "studies": outcome.studies}
    write_json(out / "cross_validation.json", content)
    return outcome


def _prior(records: Sequence[Record], fold: int, studies: int) -> Floats:
    """``(studies, 25, 3)``: for each study of a fold, the prior of the studies that its network learnt from."""
    rows = level_prior(label_array(split_folds(records, fold)[0]), JEFFREYS)
    return np.broadcast_to(rows, (studies, *rows.shape))


def _solution(study_ids: Sequence[str], grades: np.ndarray) -> str:
    """Labels in the form of the competition's ``train.csv``."""
    lines = [",".join(["study_id", *TARGETS])]
    for study_id, row in sorted(zip(study_ids, grades, strict=True), key=lambda one: one[0]):
        titles = ["" if grade == MISSING else Grade(int(grade)).title for grade in row]
        lines.append(",".join([study_id, *titles]))
    return "\n".join(lines) + "\n"
