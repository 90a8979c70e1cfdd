"""One network of a comparison: trained on one fold, resumed after a kill, and evaluated on items it never saw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import Report, Settings, epoch_lines, record_config, run_step
from monai_spine.experiments.comparison.candidate import Part
from monai_spine.experiments.fold_run import digest, fold_settings, read_state, write_state
from monai_spine.files import write_text
from monai_spine.training.run_record import read_record
from monai_spine.training.run_state import AUTO, resumes

OWN = ("fold", "bundle_root", "dataset_dir", "datalist", "resume", "logging_file", "epochs")
"""Configuration entries that a comparison sets itself."""

_STATE = "run.json"


@dataclass(frozen=True)
class TrainingJob:
    """Which network to train on which data.

    Attributes
    ----------
    datalist
        A datalist whose folds are used.
    bundle
        The bundle whose form of log lines and whose evaluation are used.
    evaluated
        Configuration entries that put the items of the evaluation in place of the validation's; none for the fold.
    """

    part: Part
    datalist: Path
    fold: int
    bundle: Path
    evaluated: tuple[tuple[str, Any], ...] = ()

    def fingerprint(self, epochs: int | None) -> str:
        """A digest of all that the training depends on."""
        return digest([*self.part.configs, self.datalist], self.fold, self.part.settings, epochs)

    def settings(self, root: Path, epochs: int | None, cache: Path | None = None) -> Settings:
        """Configuration entries of a run in a folder; epochs that are None are as the configuration has them."""
        settings = [*self.part.settings, *fold_settings(self.bundle, self.datalist, self.fold, root)]
        if epochs is not None:
            settings.append(("epochs", str(epochs)))
        if cache is not None and self.part.entry("cache_dir") is not None:
            settings.append(("cache_dir", str(cache.resolve())))
        return tuple(settings)


def train(job: TrainingJob, root: Path, epochs: int | None, cache: Path, report: Report) -> None:
    """Train, unless it is done.

    Writes what a training of the bundle writes, ``epochs.jsonl`` (see `RunRecord`), ``log.txt`` and ``run.json``.

    Parameters
    ----------
    epochs
        None for as many as the configuration has.
    cache
        A folder for bundles with a ``cache_dir``. Trainings share it, because a cache's files are named by a digest of
        what they were made with.

    Raises
    ------
    BundleRunError
        If the training fails.
    """
    fingerprint = job.fingerprint(epochs)
    state = read_state(root / _STATE)
    same = state.get("fingerprint") == fingerprint
    if same and (state.get("trained") or _is_complete(epoch_records(root))):
        report("trained before")
        return
    record, log = root / "epochs.jsonl", root / "log.txt"
    resume = same and resumes(AUTO, root / "models")
    # An old record would count epochs of another training.
    if not resume:
        record.unlink(missing_ok=True)
    write_state(root / _STATE, fingerprint=fingerprint, trained=False, evaluated=None)
    report(f"{'resumes' if resume else 'starts'}, log in {log}")
    configs = [*job.part.configs, record_config(record)]
    settings = (*job.settings(root, epochs, cache), ("resume", AUTO if same else "False"))
    run_step("training", configs, settings, log, follow=epoch_lines(report))
    write_state(root / _STATE, fingerprint=fingerprint, trained=True, evaluated=None)


def evaluate(job: TrainingJob, root: Path, epochs: int | None, cache: Path) -> Path:
    """The ``predictions.csv`` of the best weights for the items of the evaluation, made once.

    Raises
    ------
    BundleRunError
        If the evaluation fails.
    """
    predictions = root / "eval" / "predictions.csv"
    evaluated = json.dumps(job.evaluated)
    state = read_state(root / _STATE)
    if state.get("evaluated") == evaluated and predictions.is_file():
        return predictions
    override = root / "evaluated.json"
    write_text(override, json.dumps(dict(job.evaluated), indent=2) + "\n")
    configs = [*job.part.configs, job.bundle / "configs" / "evaluate.json", override]
    run_step("evaluation", configs, job.settings(root, epochs, cache), root / "log.txt")
    write_state(root / _STATE, fingerprint=state["fingerprint"], trained=True, evaluated=evaluated)
    return predictions


def epoch_records(root: Path) -> list[dict[str, Any]]:
    """What each epoch of a run cost."""
    return read_record(root / "epochs.jsonl")


def _is_complete(lines: Sequence[dict[str, Any]]) -> bool:
    return bool(lines) and lines[-1]["epoch"] == lines[-1]["epochs"]
