"""From what a user asks for to a search that runs and its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from monai_spine.bundle.run import Settings
from monai_spine.errors import ExitCode, MissingInputError, SpineError
from monai_spine.experiments.tuning.configuration import Configuration, check_settings, direction_of
from monai_spine.experiments.tuning.ledger import Ledger, digest, finished
from monai_spine.experiments.tuning.results import check_folder, write_results
from monai_spine.experiments.tuning.search import Pruning, Search, reason
from monai_spine.experiments.tuning.space import Space
from monai_spine.experiments.tuning.trial import Setting

_OWN_DATABASE = "study.db"


@dataclass(frozen=True)
class Wish:
    """What a user asks for.

    Attributes
    ----------
    storage
        A database's URL; None for SQLite in the folder of the results.
    metric, higher_is_better
        None for the figure by which the bundle chooses its weights.
    """

    bundle: Path
    datalist: Path
    space: Space
    trials: int
    presets: tuple[Path, ...] = ()
    settings: Settings = ()
    storage: str | None = None
    study: str = "search"
    metric: str | None = None
    higher_is_better: bool | None = None
    pruning: Pruning = Pruning.MEDIAN
    fold: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """The best trial, and why others failed."""

    best: FrozenTrial
    metric: str
    trials: int
    failed: dict[int, str]

    @property
    def exit_code(self) -> ExitCode:
        """Whether all trials came to an end."""
        return ExitCode.SOME_REFUSED if self.failed else ExitCode.DONE

    def line(self) -> str:
        """For the terminal."""
        chosen = ", ".join(f"{name} {value}" for name, value in self.best.params.items())
        failed = f", {len(self.failed)} failed" if self.failed else ""
        best = f"best {self.metric} {self.best.value:.4f} in trial {self.best.number}"
        return f"{self.trials} trials{failed}; {best}: {chosen}"


def tune(wish: Wish, out: Path, say: Callable[[str], None]) -> Found:
    """Search, and write what was found after every trial (`write_results`).

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If the bundle, the datalist or the storage cannot be used: before the first trial.
    SpineError
        If no trial came to an end.
    """
    if not wish.datalist.is_file():
        raise MissingInputError(f"expected a datalist, but there is no file {wish.datalist}")
    configuration = Configuration(wish.bundle, wish.presets, wish.settings, wish.datalist)
    check_settings(wish.settings, sorted(wish.space.ids()))
    metric, higher = _aim(wish, configuration)
    setting = Setting(
        bundle=wish.bundle,
        datalist=wish.datalist,
        metric=metric,
        higher_is_better=higher,
        presets=wish.presets,
        settings=wish.settings,
        fold=wish.fold,
        seed=wish.seed,
        cached=configuration.has("cache_dir"),
    )
    files = [wish.bundle / "configs" / "train.json", *configuration.presets, wish.datalist]
    common = digest(files, wish.space.fingerprint, wish.settings, metric, higher, wish.fold, wish.seed)
    ledger = Ledger(
        wish.storage or f"sqlite:///{(out / _OWN_DATABASE).resolve()}",
        wish.study,
        higher_is_better=higher,
        pruner=wish.pruning.pruner(),
        fingerprint=common,
    )
    search = Search(
        setting, wish.space, ledger, out, wish.trials, ledger.shown if wish.storage else _OWN_DATABASE, wish.seed
    )
    check_folder(search)
    base = configuration.override({})
    write_results(search, base)
    search.run(say, lambda: write_results(search, base))
    return _found(search)


def _aim(wish: Wish, configuration: Configuration) -> tuple[str, bool]:
    if wish.metric is None:
        metric, higher = configuration.key_metric()
    else:
        metric, higher = wish.metric, direction_of(wish.metric)
    return metric, higher if wish.higher_is_better is None else wish.higher_is_better


def _found(search: Search) -> Found:
    trials = search.ledger.claimed()
    if not finished(search.ledger.study):
        raise SpineError(f"none of {len(trials)} trials came to an end; see {search.out / 'trials.csv'}")
    failed = {trial.number: reason(trial) for trial in trials if reason(trial)}
    return Found(search.ledger.study.best_trial, search.setting.metric, len(trials), failed)
