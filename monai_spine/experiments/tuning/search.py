"""The search: Optuna proposes a trial, it is trained in its own folder, Optuna gets its figure, until all are done."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from monai_spine.bundle.run import BundleStopped, Report, Settings, record_config, run_step, training_configs
from monai_spine.errors import InvalidOptionError, SpineError, counted
from monai_spine.experiments.fold_run import fold_settings, prefixed
from monai_spine.experiments.tuning.space import Space
from monai_spine.experiments.tuning.storage import REASON, TrialStorage, finished
from monai_spine.files import write_json
from monai_spine.training.run_record import read_record


@dataclass(frozen=True)
class TrialResult:
    """The best figure of a training, its epoch, and how many epochs there were."""

    value: float
    epoch: int
    epochs: int


def run_trial(
    search: Search, root: Path, overrides: Mapping[str, Any], prune: Callable[[int, float], bool]
) -> TrialResult | None:
    """Train with some entries of the configuration changed.

    Writes ``overrides.json``, ``epochs.jsonl`` and ``log.txt`` to ``root``, and the best weights unless it was pruned.

    ``prune``: called with every epoch and its figure; True ends the training.
    Returns None if the training was ended early.
    Raises `BundleRunError` if the training fails.
    Raises `InvalidOptionError` if the validation does not have the figure, or the figure is not defined in any epoch.
    """
    # What an interrupted search left behind.
    shutil.rmtree(root, ignore_errors=True)
    chosen = root / "overrides.json"
    write_json(chosen, {**overrides, "seed": search.request.seed})
    record = root / "epochs.jsonl"
    configs = [*training_configs(search.request.bundle, search.request.presets), chosen, record_config(record)]
    pruning = _Pruning(search, record, prune)
    try:
        run_step("training", configs, _settings(search, root), root / "log.txt", stop=pruning)
    except BundleStopped:
        shutil.rmtree(root / "models", ignore_errors=True)
        return None
    # Only needed to resume, and a trial is never resumed.
    (root / "models" / "latest.pt").unlink(missing_ok=True)
    lines = read_record(record)
    figures = [(figure, line["epoch"]) for line in lines if (figure := _figure(search, line)) is not None]
    if not figures:
        raise InvalidOptionError(
            f"{search.metric} was not defined in any of {counted(len(lines), 'epoch')}; too few labels?"
        )
    value, epoch = max(figures) if search.higher_is_better else min(figures)
    return TrialResult(value, epoch, len(lines))


class _Pruning:
    """Passes every new epoch of a record to ``prune``; called, it returns whether to stop the training."""

    def __init__(self, search: Search, record: Path, prune: Callable[[int, float], bool]) -> None:
        self.search, self.record, self.prune = search, record, prune
        self._seen, self._size = 0, 0

    def __call__(self) -> bool:
        # Called several times a second: the file is read only when it has grown.
        size = self.record.stat().st_size if self.record.is_file() else 0
        if size == self._size:
            return False
        self._size = size
        lines = read_record(self.record)
        new, self._seen = lines[self._seen :], len(lines)
        for line in new:
            figure = _figure(self.search, line)
            if figure is not None and self.prune(line["epoch"], figure) and line["epoch"] < line["epochs"]:
                return True
        return False


def _figure(search: Search, line: Mapping[str, Any]) -> float | None:
    metrics = line["metrics"]
    if search.metric not in metrics:
        raise InvalidOptionError(
            f"expected the figure {search.metric!r} of the validation, but found {', '.join(sorted(metrics))}"
        )
    value = metrics[search.metric]
    return None if value is None or not math.isfinite(value) else float(value)


def _settings(search: Search, root: Path) -> Settings:
    settings = [
        *search.request.settings,
        *fold_settings(search.request.bundle, search.request.datalist, search.request.fold, root),
    ]
    if search.has_cache:
        settings.append(("cache_dir", str((root.parent / "cache").resolve())))
    return tuple(settings)


OWN_DATABASE = "study.db"
"""The SQLite file in the folder of the results, where the user names no other database."""

_STARTUP_TRIALS = 5
"""With fewer finished trials, their median is not reliable enough to end a trial."""

_WARMUP_EPOCHS = 2
"""No trial is ended in its first epochs, when learning rates still rise."""

_MOST_FAILED = 3
"""If so many trials failed and no other is finished, the search ends."""


PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=_WARMUP_EPOCHS),
    "hyperband": optuna.pruners.HyperbandPruner,
    "none": optuna.pruners.NopPruner,
}
"""Optuna's pruners, which end trials early, by name."""


@dataclass(frozen=True)
class TuningRequest:
    """What a user asks for."""

    bundle: Path
    datalist: Path
    space: Space
    trials: int
    """How many, on all machines together; interrupted ones do not count."""
    presets: tuple[Path, ...] = ()
    """Further configuration files of the bundle."""
    settings: Settings = ()
    """Configuration entries by name, with values as text."""
    storage: str | None = None
    """A database's URL; None for a SQLite file in the folder of the results."""
    study: str = "search"
    """The name of the search in the database."""
    metric: str | None = None
    higher_is_better: bool | None = None
    """``metric``, ``higher_is_better``: the figure of the validation; None for the one by which the bundle chooses its
    weights."""
    pruner: str = "median"
    """Which trials are ended early: a key of `PRUNERS`."""
    fold: int = 0
    """The fold that validates."""
    seed: int = 0
    """The seed of the trainings. With the same seed and the same figures, the same trials are proposed."""


@dataclass(frozen=True)
class Search:
    """What to search, and how."""

    request: TuningRequest
    metric: str
    """A figure of the validation."""
    higher_is_better: bool
    has_cache: bool
    """Whether the bundle has a ``cache_dir``. Trials share it, because a cache's files are named by a digest of what
    they were made with."""
    storage: TrialStorage
    out: Path

    @property
    def storage_name(self) -> str:
        """The name of the database in the results, without its password."""
        return self.storage.shown if self.request.storage else OWN_DATABASE

    def run(self, report: Report, after_each: Callable[[], None]) -> None:
        """Work on the search until all trials are done.

        ``after_each``: called after each trial of this process.
        Raises `SpineError` if the first trials all fail.
        """
        for number in self.storage.release_interrupted():
            report(f"trial {number} was interrupted; another takes its place")
        # One trial at a time: other machines may have taken some in the meantime.
        while len(self.storage.counted()) < self.request.trials:
            self.storage.study.optimize(lambda trial: self._try(trial, report), n_trials=1, catch=(_TrialFailedError,))
            after_each()
            self._check_failures()

    def folder(self, number: int) -> Path:
        """The folder of a trial."""
        return self.out / f"trial_{number:04d}"

    def _try(self, trial: optuna.Trial, report: Report) -> float:
        self.storage.sign(trial)
        if self.storage.is_surplus(trial, self.request.trials):
            raise _TrialFailedError
        # A new sampler for each trial: its proposal then depends on the trial's number and the storage alone.
        self.storage.study.sampler = optuna.samplers.TPESampler(seed=self._seed(trial.number))
        overrides = self.request.space.suggest(trial)
        report_own = prefixed(report, f"[trial {trial.number}, {self.request.trials} in all] ")
        report_own(", ".join(f"{name} {_short(value)}" for name, value in trial.params.items()))
        started = time.monotonic()
        trial.set_user_attr("seed", self.request.seed)
        try:
            result = run_trial(self, self.folder(trial.number), overrides, _pruning(trial, report_own))
        except SpineError as error:
            trial.set_user_attr(REASON, str(error))
            report_own(f"failed: {error}")
            raise _TrialFailedError from error
        finally:
            trial.set_user_attr("minutes", round((time.monotonic() - started) / 60, 2))
        return self._figure(trial, result, report_own)

    def _seed(self, number: int) -> int:
        """The seed of one proposal: it must not depend on the machine that makes it, or on earlier interruptions."""
        return int(np.random.SeedSequence([self.request.seed, number]).generate_state(1)[0])

    def _figure(self, trial: optuna.Trial, result: TrialResult | None, report: Report) -> float:
        """The figure of a trial that was completed; a trial that was ended early raises `TrialPruned`."""
        if result is None:
            report("ended early: worse than others at this epoch")
            raise optuna.TrialPruned
        trial.set_user_attr("epoch", result.epoch)
        trial.set_user_attr("epochs", result.epochs)
        others = finished(self.storage.study)
        is_best = all(self._is_better(result.value, float(one.value or 0)) for one in others)
        remark = ", the best so far" if is_best else ""
        report(f"{self.metric} {result.value:.4f} in epoch {result.epoch} of {result.epochs}{remark}")
        return result.value

    def _is_better(self, one: float, other: float) -> bool:
        return one > other if self.higher_is_better else one < other

    def _check_failures(self) -> None:
        trials = self.storage.study.get_trials(deepcopy=False)
        failed = [trial for trial in trials if REASON in trial.user_attrs]
        others = [trial for trial in trials if trial.state in {TrialState.COMPLETE, TrialState.PRUNED}]
        if len(failed) >= min(_MOST_FAILED, self.request.trials) and not others:
            raise SpineError(
                f"the first {counted(len(failed), 'trial')} failed; trial {failed[0].number}: {reason(failed[0])}"
            )


class _TrialFailedError(Exception):
    """A trial was not completed; the search goes on."""


def reason(trial: FrozenTrial) -> str:
    """Why a trial failed; empty if it did not fail, or was interrupted."""
    return str(trial.user_attrs.get(REASON, ""))


def _pruning(trial: optuna.Trial, report: Report) -> Callable[[int, float], bool]:
    def prune(epoch: int, figure: float) -> bool:
        trial.report(figure, epoch)
        report(f"epoch {epoch}: {figure:.4f}")
        return trial.should_prune()

    return prune


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
