"""One network of a comparison: the cost of an epoch, the training on one fold, which resumes after a kill, and the
evaluation on items that it never saw.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import Report, Settings, epoch_lines, record_config, run_step
from monai_spine.experiments.comparison.candidate import Part
from monai_spine.experiments.fold_run import digest, fold_settings, read_state, write_state
from monai_spine.files import read_json, write_text
from monai_spine.training.run_record import read_record
from monai_spine.training.run_state import AUTO, resumes

OWN = ("fold", "bundle_root", "dataset_dir", "datalist", "resume", "logging_file", "epochs")
"""Configuration entries that a comparison sets itself."""

_STATE = "run.json"


@dataclass(frozen=True)
class TrainingJob:
    """Which network to train on which data."""

    part: Part
    datalist: Path
    """A datalist whose folds are used."""
    fold: int
    bundle: Path
    """The bundle whose form of log lines and whose evaluation are used."""
    evaluated: tuple[tuple[str, Any], ...] = ()
    """Configuration entries that put the items of the evaluation in place of the validation's; none for the fold."""

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

    ``epochs``: None for as many as the configuration has.
    ``cache``: a folder for bundles with a ``cache_dir``. Trainings share it, because a cache's files are named by a
    digest of what they were made with.
    Raises `BundleRunError` if the training fails.
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

    Raises `BundleRunError` if the evaluation fails.
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


_BATCHES = 3
"""How many batches a short epoch has, in training and in validation each."""

_BATCH = 4
"""Items of a batch, where the configuration does not give a number."""

_EPOCHS = 3
"""How many short epochs are run. The first one fills caches and is not counted."""


@dataclass(frozen=True)
class EpochCost:
    """What an epoch costs in seconds: of processor time on a CPU, by the clock on a GPU."""

    training: float
    validation: float
    """``training``, ``validation``: for one training item with its step, and for one validation item."""
    rest: float
    """For everything else in an epoch: pictures, states, batch statistics."""

    def epoch(self, training: int, validation: int) -> float:
        """Seconds of an epoch with so many items."""
        return self.training * training + self.validation * validation + self.rest

    def epochs(self, minutes: float, training: int, validation: int) -> int:
        """Complete epochs that fit into so many minutes, at least one."""
        return max(1, math.floor(60 * minutes / self.epoch(training, validation)))

    def as_dict(self) -> dict[str, float]:
        """Seconds by name."""
        return {name: round(seconds, 5) for name, seconds in asdict(self).items()}


def measure_epoch(job: TrainingJob, root: Path) -> EpochCost:
    """Train a few short epochs on a few items of the datalist, in a folder that is removed afterwards.

    Raises `BundleRunError` if the training fails.
    """
    shutil.rmtree(root, ignore_errors=True)
    batch = job.part.entry("batch_size")
    # An expression of the configuration is text here and is not evaluated.
    batch = int(batch) if str(batch).isdecimal() else _BATCH
    write_text(root / "datalist.json", json.dumps(_few(job.datalist, job.fold, _BATCHES * batch)))
    probe = TrainingJob(job.part, root / "datalist.json", job.fold, job.bundle)
    record = root / "epochs.jsonl"
    configs = [*job.part.configs, record_config(record)]
    run_step("training", configs, probe.settings(root, _EPOCHS), root.parent / "log.txt")
    cost = _cost(read_record(record)[1:])
    shutil.rmtree(root)
    return cost


def _cost(lines: Sequence[dict[str, Any]]) -> EpochCost:
    """The least time of the short epochs: whatever else the machine does only adds to it."""
    # Processor time, because other work on the machine does not change it.
    clock = "processor_seconds" if lines[0]["device"] == "cpu" else "seconds"
    each = {
        name: min(line[name][clock] / max(1, line[name]["items"]) for line in lines)
        for name in ("training", "validation")
    }
    rest = min(line[clock] - line["training"][clock] - line["validation"][clock] for line in lines)
    return EpochCost(each["training"], each["validation"], max(0.0, rest))


def _few(datalist: Path, fold: int, count: int) -> dict[str, Any]:
    """A datalist of so many training items and as many validation items, with all labels and absolute paths."""
    content: dict[str, Any] = read_json(datalist)
    entries = content["training"]
    sides = [[e for e in entries if e["fold"] != fold], [e for e in entries if e["fold"] == fold]]
    chosen = [entry for side in sides for entry in _labels_in_turn(side)[:count]]
    folder = datalist.parent.resolve()
    return {**content, "training": [_absolute(entry, folder) for entry in chosen], "test": []}


def _labels_in_turn(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first item of every label, then the second of every label, and so on.

    Items of one label only would leave losses and metrics undefined.
    """
    seen: dict[str, int] = {}
    ranks = []
    for entry in entries:
        label = json.dumps(entry.get("label"))
        seen[label] = seen.get(label, 0) + 1
        ranks.append(seen[label])
    order = sorted(range(len(entries)), key=lambda n: ranks[n])
    return [entries[n] for n in order]


def _absolute(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A datalist's entry with absolute paths."""

    def is_paths(value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)

    return {key: [str(folder / one) for one in value] if is_paths(value) else value for key, value in entry.items()}
