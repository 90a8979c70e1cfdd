"""The search itself: Optuna proposes a trial, it is trained, Optuna gets its figure, until all trials are done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from monai_spine.bundle.run import Report
from monai_spine.errors import SpineError
from monai_spine.experiments.fold_run import prefixed
from monai_spine.experiments.tuning.space import Space
from monai_spine.experiments.tuning.storage import REASON, TrialStorage, finished
from monai_spine.experiments.tuning.trial import CommonSettings, TrialResult, run_trial

_STARTUP_TRIALS = 5
"""With fewer finished trials, their median is not reliable enough to end a trial."""

_WARMUP_EPOCHS = 2
"""No trial is ended in its first epochs, when learning rates still rise."""

_MOST_FAILED = 3
"""If so many trials failed and no other is finished, the search ends."""


class Pruning(str, Enum):
    """Which trials are ended early."""

    MEDIAN = "median"
    HYPERBAND = "hyperband"
    NONE = "none"

    def pruner(self) -> optuna.pruners.BasePruner:
        """Optuna's pruner of that name."""
        if self is Pruning.MEDIAN:
            return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=_WARMUP_EPOCHS)
        return optuna.pruners.HyperbandPruner() if self is Pruning.HYPERBAND else optuna.pruners.NopPruner()


@dataclass(frozen=True)
class Search:
    """What to search, and how.

    Attributes
    ----------
    trials
        How many trials, on all machines together; interrupted ones do not count.
    storage_name
        How the results call the database.
    seed
        With the same seed and the same figures, the same trials are proposed.
    """

    common: CommonSettings
    space: Space
    storage: TrialStorage
    out: Path
    trials: int
    storage_name: str
    seed: int

    def run(self, report: Report, after_each: Callable[[], None]) -> None:
        """Work on the search until all trials are done.

        Parameters
        ----------
        after_each
            Called after each trial of this process.

        Raises
        ------
        SpineError
            If the first trials all fail.
        """
        for number in self.storage.release_interrupted():
            report(f"trial {number} was interrupted; another takes its place")
        # One trial at a time: other machines may have taken some in the meantime.
        while len(self.storage.counted()) < self.trials:
            self.storage.study.optimize(lambda trial: self._try(trial, report), n_trials=1, catch=(_TrialFailedError,))
            after_each()
            self._check_failures()

    def folder(self, number: int) -> Path:
        """The folder of a trial."""
        return self.out / f"trial_{number:04d}"

    def _try(self, trial: optuna.Trial, report: Report) -> float:
        self.storage.sign(trial)
        if self.storage.is_surplus(trial, self.trials):
            raise _TrialFailedError
        # A new sampler for each trial: its proposal then depends on the trial's number and the storage alone.
        self.storage.study.sampler = optuna.samplers.TPESampler(seed=self._seed(trial.number))
        overrides = self.space.suggest(trial)
        report_own = prefixed(report, f"[trial {trial.number}, {self.trials} in all] ")
        report_own(", ".join(f"{name} {_short(value)}" for name, value in trial.params.items()))
        started = time.monotonic()
        trial.set_user_attr("seed", self.common.seed)
        try:
            result = run_trial(self.common, self.folder(trial.number), overrides, _pruning(trial, report_own))
        except SpineError as error:
            trial.set_user_attr(REASON, str(error))
            report_own(f"failed: {error}")
            raise _TrialFailedError from error
        finally:
            trial.set_user_attr("minutes", round((time.monotonic() - started) / 60, 2))
        return self._figure(trial, result, report_own)

    def _seed(self, number: int) -> int:
        """The seed of one proposal: it must not depend on the machine that makes it, or on earlier interruptions."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])

    def _figure(self, trial: optuna.Trial, result: TrialResult | None, report: Report) -> float:
        """The figure of a trial that was completed; a trial that was ended early raises `TrialPruned`."""
        if result is None:
            report("ended early: worse than others at this epoch")
            raise optuna.TrialPruned
        trial.set_user_attr("epoch", result.epoch)
        trial.set_user_attr("epochs", result.epochs)
        others = finished(self.storage.study)
        is_best = all(self.common.better(result.value, float(one.value or 0)) for one in others)
        remark = ", the best so far" if is_best else ""
        report(f"{self.common.metric} {result.value:.4f} in epoch {result.epoch} of {result.epochs}{remark}")
        return result.value

    def _check_failures(self) -> None:
        trials = self.storage.study.get_trials(deepcopy=False)
        failed = [trial for trial in trials if REASON in trial.user_attrs]
        others = [trial for trial in trials if trial.state in {TrialState.COMPLETE, TrialState.PRUNED}]
        if len(failed) >= min(_MOST_FAILED, self.trials) and not others:
            raise SpineError(f"the first {len(failed)} trials failed; trial {failed[0].number}: {reason(failed[0])}")


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
