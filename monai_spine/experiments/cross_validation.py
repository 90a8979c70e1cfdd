"""Cross-validation of a grader's bundle: one training a fold, and what each says of the studies that it never saw."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_spine.bundle.run import epoch_lines, logging_setting, run_step, training_configs
from monai_spine.data.datalist import Record, label_array, read_datalist, split_folds
from monai_spine.errors import InvalidOptionError
from monai_spine.files import write_text
from monai_spine.scoring.competition import competition_score
from monai_spine.scoring.submission import Labels, read_predictions, write_predictions
from monai_spine.spine import MISSING, TARGETS, Grade

Say = Callable[[str], None]
_STATE = "fold.json"

OWN = ("fold", "bundle_root", "dataset_dir", "datalist", "resume", "logging_file")
"""Configuration entries that cross-validation sets itself."""


@dataclass(frozen=True)
class Plan:
    """What to train.

    Attributes
    ----------
    bundle
        A folder with ``configs/train.json`` and ``configs/evaluate.json``.
    datalist
        The ``datalist.json`` whose folds are used.
    overrides
        Further configuration files, such as ``presets/convnext_nano_gated.json``; a name without a folder is looked for
        among the bundle's presets.
    settings
        Configuration entries by name, such as ``epochs``.
    """

    bundle: Path
    datalist: Path
    overrides: tuple[Path, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def configs(self) -> list[Path]:
        """The configuration files of a training.

        Raises
        ------
        MissingInputError
            If one of them is not there.
        """
        return training_configs(self.bundle, self.overrides)

    def fingerprint(self, fold: int) -> str:
        """A digest of all that a fold's result depends on."""
        parts = [path.read_bytes() for path in (*self.configs, self.datalist)]
        parts.append(json.dumps([fold, self.settings]).encode())
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """Scores of the competition: of each fold's studies, and of all of them together."""

    folds: dict[int, float]
    score: float
    studies: int

    def line(self) -> str:
        """For the terminal."""
        each = ", ".join(f"{fold}: {score:.4f}" for fold, score in self.folds.items())
        return f"{self.studies} studies, out-of-fold score {self.score:.4f} (folds {each})"


def cross_validate(plan: Plan, out: Path, folds: Sequence[int] | None, say: Say) -> Outcome:
    """Train and evaluate fold by fold, and join what was said of the studies left out.

    Writes ``fold_<n>/`` with weights, TensorBoard's events and ``log.txt``, ``models/fold_<n>.pt``,
    ``out_of_fold.csv``, ``solution.csv`` with the labels of the same studies, and ``cross_validation.json``. A fold
    that was finished with the same configuration, settings and datalist is not done again; one that was killed goes
    on after its last whole epoch.

    Parameters
    ----------
    folds
        Those to do; all of the datalist's if None.
    say
        Takes lines for the user.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If the bundle, the datalist or a fold is not there.
    BundleRunError
        If a training fails.
    """
    records = read_datalist(plan.datalist)
    chosen = _chosen(records, folds)
    for fold in chosen:
        split_folds(records, fold)
    for number, fold in enumerate(chosen, start=1):
        _do(plan, fold, out / f"fold_{fold}", _counted(say, number, len(chosen)))
    return _joined(records, chosen, out)


def _counted(say: Say, number: int, total: int) -> Say:
    return lambda text: say(f"[{number}/{total}] {text}")


def _chosen(records: Sequence[Record], folds: Sequence[int] | None) -> list[int]:
    known = sorted({record["fold"] for record in records if record["fold"] is not None})
    wanted = known if folds is None else sorted(set(folds))
    if not wanted or not set(wanted) <= set(known):
        raise InvalidOptionError(f"expected folds out of {known}, but found {wanted}")
    return wanted


def _do(plan: Plan, fold: int, root: Path, say: Say) -> None:
    """One fold, unless it is done."""
    fingerprint = plan.fingerprint(fold)
    state = _state(root)
    same = state.get("fingerprint") == fingerprint
    if same and state.get("done") and (root / "eval/predictions.csv").is_file():
        say(f"fold {fold}: done before")
        return
    resume = same and (root / "models/latest.pt").is_file()
    trained = same and bool(state.get("trained"))
    _keep(root, fingerprint, trained=trained)
    say(f"fold {fold}: {'goes on' if resume else 'begins'}, log in {root / 'log.txt'}")
    settings = [*plan.settings, ("fold", str(fold)), ("bundle_root", str(root))]
    settings += [("dataset_dir", str(plan.datalist.parent)), *logging_setting(plan.bundle)]
    log, follow = root / "log.txt", epoch_lines(say)
    if not trained:
        run_step("training", plan.configs, (*settings, ("resume", str(resume))), log, follow=follow)
        _keep(root, fingerprint, trained=True)
    run_step("evaluation", [*plan.configs, plan.bundle / "configs/evaluate.json"], tuple(settings), log, follow=follow)
    shutil.copyfile(root / "models/model.pt", _kept(root, fold))
    _keep(root, fingerprint, trained=True, done=True)


def _keep(root: Path, fingerprint: str, *, trained: bool, done: bool = False) -> None:
    content = {"fingerprint": fingerprint, "trained": trained, "done": done}
    write_text(root / _STATE, json.dumps(content) + "\n")


def _kept(root: Path, fold: int) -> Path:
    folder = root.parent / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"fold_{fold}.pt"


def _state(root: Path) -> dict[str, object]:
    try:
        content = json.loads((root / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _joined(records: Sequence[Record], folds: Sequence[int], out: Path) -> Outcome:
    """Tables of all folds' studies."""
    parts = {fold: _labels([record for record in records if record["fold"] == fold]) for fold in folds}
    said = {
        fold: read_predictions(out / f"fold_{fold}/eval/predictions.csv", labels).probabilities
        for fold, labels in parts.items()
    }
    scores = {fold: float(competition_score(parts[fold].grades, said[fold]).score) for fold in folds}
    probabilities = np.concatenate([said[fold] for fold in folds])
    grades = np.concatenate([parts[fold].grades for fold in folds])
    study_ids = [study_id for fold in folds for study_id in parts[fold].study_ids]
    write_predictions(out / "out_of_fold.csv", study_ids, probabilities)
    write_text(out / "solution.csv", _solution(study_ids, grades))
    outcome = Outcome(scores, float(competition_score(grades, probabilities).score), len(study_ids))
    content = {"score": outcome.score, "folds": scores, "studies": outcome.studies}
    write_text(out / "cross_validation.json", json.dumps(content, indent=2) + "\n")
    return outcome


def _labels(records: Sequence[Record]) -> Labels:
    return Labels(tuple(record["study_id"] for record in records), label_array(records))


def _solution(study_ids: Sequence[str], grades: np.ndarray) -> str:
    """Labels in the form of the competition's ``train.csv``."""
    lines = [",".join(["study_id", *TARGETS])]
    for study_id, row in sorted(zip(study_ids, grades, strict=True), key=lambda one: one[0]):
        titles = ["" if grade == MISSING else Grade(int(grade)).title for grade in row]
        lines.append(",".join([study_id, *titles]))
    return "\n".join(lines) + "\n"
