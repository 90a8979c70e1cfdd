"""From a user's request to a search and its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from monai_spine.bundle.run import Report, Settings
from monai_spine.errors import ExitCode, MissingInputError, SpineError
from monai_spine.experiments.fold_run import digest
from monai_spine.experiments.tuning.configuration import Configuration, check_settings, direction_of
from monai_spine.experiments.tuning.results import check_folder, write_results
from monai_spine.experiments.tuning.search import Pruning, Search, reason
from monai_spine.experiments.tuning.space import Space
from monai_spine.experiments.tuning.storage import TrialStorage, finished
from monai_spine.experiments.tuning.trial import CommonSettings

_OWN_DATABASE = "study.db"


@dataclass(frozen=True)
class TuningRequest:
    """What a user asks for.

    Attributes
    ----------
    storage
        A database's URL; None for a SQLite file in the folder of the results.
    study
        The name of the search in the database.
    metric, higher_is_better
        The figure of the validation; None for the one by which the bundle chooses its weights.
    fold
        The fold that validates.
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
class TuningResult:
    """The best trial, and why others failed."""

    best: FrozenTrial
    metric: str
    trials: int
    failed: dict[int, str]

    @property
    def exit_code(self) -> ExitCode:
        """Whether all trials were completed."""
        return ExitCode.SOME_REFUSED if self.failed else ExitCode.DONE

    def line(self) -> str:
        """One line for the terminal."""
        chosen = ", ".join(f"{name} {value}" for name, value in self.best.params.items())
        failed = f", {len(self.failed)} failed" if self.failed else ""
        best = f"best {self.metric} {self.best.value:.4f} in trial {self.best.number}"
        return f"{self.trials} trials{failed}; {best}: {chosen}"


def tune(request: TuningRequest, out: Path, report: Report) -> TuningResult:
    """Search, and write the results so far after every trial (`write_results`).

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If the bundle, the datalist or the storage cannot be used, before the first trial.
    SpineError
        If no trial was completed.
    """
    if not request.datalist.is_file():
        raise MissingInputError(f"expected a datalist, but there is no file {request.datalist}")
    configuration = Configuration(request.bundle, request.presets, request.settings, request.datalist)
    check_settings(request.settings, sorted(request.space.ids()))
    metric, higher = _metric(request, configuration)
    common = CommonSettings(
        bundle=request.bundle,
        datalist=request.datalist,
        metric=metric,
        higher_is_better=higher,
        presets=request.presets,
        settings=request.settings,
        fold=request.fold,
        seed=request.seed,
        has_cache=configuration.has("cache_dir"),
    )
    files = [request.bundle / "configs" / "train.json", *configuration.presets, request.datalist]
    fixed = (request.space.fingerprint, request.settings, metric, higher, request.fold, request.seed)
    storage = TrialStorage(
        request.storage or f"sqlite:///{(out / _OWN_DATABASE).resolve()}",
        request.study,
        higher_is_better=higher,
        pruner=request.pruning.pruner(),
        fingerprint=digest(files, *fixed),
    )
    search = Search(
        common=common,
        space=request.space,
        storage=storage,
        out=out,
        trials=request.trials,
        storage_name=storage.shown if request.storage else _OWN_DATABASE,
        seed=request.seed,
    )
    check_folder(search)
    override = configuration.override()
    write_results(search, override)
    search.run(report, lambda: write_results(search, override))
    return _result(search)


def _metric(request: TuningRequest, configuration: Configuration) -> tuple[str, bool]:
    if request.metric is None:
        metric, higher = configuration.key_metric()
    else:
        metric, higher = request.metric, direction_of(request.metric)
    return metric, higher if request.higher_is_better is None else request.higher_is_better


def _result(search: Search) -> TuningResult:
    trials = search.storage.counted()
    if not finished(search.storage.study):
        raise SpineError(f"none of {len(trials)} trials was completed; see {search.out / 'trials.csv'}")
    failed = {trial.number: reason(trial) for trial in trials if reason(trial)}
    return TuningResult(search.storage.study.best_trial, search.common.metric, len(trials), failed)
