"""The search itself: asks Optuna what to try, trains it, tells what came of it, until the budget of trials is used."""

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

from monai_spine.errors import SpineError
from monai_spine.experiments.tuning.ledger import REASON, Ledger, finished
from monai_spine.experiments.tuning.space import Space
from monai_spine.experiments.tuning.trial import Outcome, Setting, run_trial

Say = Callable[[str], None]
Tell = Callable[[], None]

_STARTUP_TRIALS = 5
"""The median of fewer is no reason to end a trial."""

_WARMUP_EPOCHS = 2
"""Nothing is ended in its first epochs, when learning rates still rise."""

_HOPELESS = 3
"""So many failed trials, and nothing else, end the search."""


class Pruning(str, Enum):
    """Which trials to end early."""

    MEDIAN = "median"
    HYPERBAND = "hyperband"
    NONE = "none"

    def pruner(self) -> optuna.pruners.BasePruner:
        """Optuna's own."""
        if self is Pruning.MEDIAN:
            return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=_WARMUP_EPOCHS)
        return optuna.pruners.HyperbandPruner() if self is Pruning.HYPERBAND else optuna.pruners.NopPruner()


@dataclass(frozen=True)
class Search:
    """What to search, and how.

    Attributes
    ----------
    storage
        What to call the database.
    trials
        How many, over all machines; those that were interrupted do not count.
    seed
        The same seed proposes the same trials, given the same outcomes.
    """

    setting: Setting
    space: Space
    ledger: Ledger
    out: Path
    trials: int
    storage: str
    seed: int = 0

    def run(self, say: Say, after_each: Tell) -> None:
        """Work on the search until its trials are used up.

        Parameters
        ----------
        after_each
            Called after each trial of this process.

        Raises
        ------
        SpineError
            If the first trials all fail.
        """
        for number in self.ledger.give_back():
            say(f"trial {number} was interrupted; another takes its place")
        while len(self.ledger.claimed()) < self.trials:
            self.ledger.study.optimize(lambda trial: self._try(trial, say), n_trials=1, catch=(_TrialFailedError,))
            after_each()
            self._check_hope()

    def folder(self, number: int) -> Path:
        """Of a trial."""
        return self.out / f"trial_{number:04d}"

    def _try(self, trial: optuna.Trial, say: Say) -> float:
        self.ledger.sign(trial)
        if self.ledger.is_surplus(trial, self.trials):
            raise _TrialFailedError
        self.ledger.study.sampler = optuna.samplers.TPESampler(seed=self._seed(trial.number))
        overrides = self.space.suggest(trial)
        tell = _counted(say, trial.number, self.trials)
        tell(", ".join(f"{name} {_short(value)}" for name, value in trial.params.items()))
        begun = time.monotonic()
        trial.set_user_attr("seed", self.setting.seed)
        try:
            outcome = run_trial(self.setting, self.folder(trial.number), overrides, _pruning(trial, tell))
        except SpineError as error:
            trial.set_user_attr(REASON, str(error))
            tell(f"failed: {error}")
            raise _TrialFailedError from error
        finally:
            trial.set_user_attr("minutes", round((time.monotonic() - begun) / 60, 2))
        return self._judged(trial, outcome, tell)

    def _seed(self, number: int) -> int:
        """A proposal's own, so that it does not matter which machine makes it, nor when it was interrupted."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])

    def _judged(self, trial: optuna.Trial, outcome: Outcome | None, say: Say) -> float:
        if outcome is None:
            say("ended early: worse than others at this epoch")
            raise optuna.TrialPruned
        trial.set_user_attr("epoch", outcome.epoch)
        trial.set_user_attr("epochs", outcome.epochs)
        others = finished(self.ledger.study)
        best = all(self.setting.better(outcome.value, float(one.value or 0)) for one in others)
        praise = ", the best so far" if best else ""
        say(f"{self.setting.metric} {outcome.value:.4f} in epoch {outcome.epoch} of {outcome.epochs}{praise}")
        return outcome.value

    def _check_hope(self) -> None:
        trials = self.ledger.study.get_trials(deepcopy=False)
        failed = [trial for trial in trials if REASON in trial.user_attrs]
        others = [trial for trial in trials if trial.state in {TrialState.COMPLETE, TrialState.PRUNED}]
        if len(failed) >= min(_HOPELESS, self.trials) and not others:
            raise SpineError(f"the first {len(failed)} trials failed; trial {failed[0].number}: {reason(failed[0])}")


class _TrialFailedError(Exception):
    """A trial did not come to an end; the search goes on."""


def reason(trial: FrozenTrial) -> str:
    """Why a trial failed; empty if it did not, or was interrupted."""
    return str(trial.user_attrs.get(REASON, ""))


def _pruning(trial: optuna.Trial, say: Say) -> Callable[[int, float], bool]:
    def prune(epoch: int, figure: float) -> bool:
        trial.report(figure, epoch)
        say(f"epoch {epoch}: {figure:.4f}")
        return trial.should_prune()

    return prune


def _counted(say: Say, number: int, total: int) -> Say:
    return lambda text: say(f"[trial {number}, {total} in all] {text}")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
