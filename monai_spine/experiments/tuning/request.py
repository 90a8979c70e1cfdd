"""From a user's request, and the bundle's configuration before anything is trained, to a search and its results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from monai_spine.bundle.planned_settings import parsed_value, planned_configuration, refuse_settings
from monai_spine.bundle.run import Report, Settings, training_configs
from monai_spine.errors import ExitCode, InvalidOptionError, MissingInputError, SpineError, counted, listed
from monai_spine.experiments.fold_run import digest
from monai_spine.experiments.tuning.results import check_folder, write_results
from monai_spine.experiments.tuning.search import OWN_DATABASE, PRUNERS, Search, TuningRequest, reason
from monai_spine.experiments.tuning.storage import TrialStorage, finished
from monai_spine.files import read_json

_HIGHER = "best_model#higher_is_better"
_LOWER = ("loss", "score", "brier", "ece", "error", "distance", "mm")
"""If the name of a figure contains one of these words, less of it is better."""


class Configuration:
    """The configuration of a bundle's training, read and merged but not built.

    Raises `MissingInputError` if a file does not exist.
    Raises `InvalidOptionError` if a setting is unknown or impossible.
    """

    def __init__(self, bundle: Path, presets: Sequence[Path], settings: Settings, datalist: Path) -> None:
        configs = training_configs(bundle, presets)
        refuse_settings(configs, settings)
        self.presets = configs[1:]
        self.settings = {name: parsed_value(value) for name, value in settings}
        self._parser = planned_configuration(configs, settings)
        # Some bundles derive the key figure from the data, so the datalist must be known.
        self._parser.update({"dataset_dir": str(datalist.parent), "datalist": str(datalist)})

    def has(self, id_: str) -> bool:
        """Whether there is such an entry."""
        return id_ in self._parser

    def key_metric(self) -> tuple[str, bool]:
        """The figure by which the bundle chooses its best weights, and whether more of it is better.

        Raises `InvalidOptionError` if the configuration has no such figure.
        """
        try:
            name = self._parser.get_parsed_content("best_model#key_metric")
            higher = self.has(_HIGHER) and self._parser.get_parsed_content(_HIGHER)
        except SpineError:
            raise
        except Exception as err:  # MONAI's parser raises errors of many kinds
            raise InvalidOptionError(
                f"expected the bundle to have a figure by which it chooses its weights, but found none ({err}); "
                "give --metric and --direction"
            ) from err
        return str(name), bool(higher)

    def override(self) -> dict[str, Any]:
        """All that differs from the bundle's ``train.json``: presets, and settings, which win."""
        merged: dict[str, Any] = {}
        for path in self.presets:
            merged |= read_json(path)
        return {**merged, **self.settings}


def direction_of(metric: str) -> bool:
    """Whether more of a figure is better, guessed from its name."""
    return not any(word in metric.lower() for word in _LOWER)


def check_settings(settings: Settings, chosen: Sequence[str]) -> None:
    """Make sure that no configuration entry is both set and searched for.

    Raises `InvalidOptionError` if an entry is both.
    """
    both = sorted({name for name, _ in settings} & set(chosen))
    if both:
        raise InvalidOptionError(f"{listed(both)}: both set and in the search space; remove it from one of them")


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
        return f"{counted(self.trials, 'trial')}{failed}; {best}: {chosen}"


def tune(request: TuningRequest, out: Path, report: Report) -> TuningResult:
    """Search, and write the results so far after every trial (`write_results`).

    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` if the bundle, the datalist or the storage
    cannot be used, before the first trial.
    Raises `SpineError` if no trial was completed.
    """
    if not request.datalist.is_file():
        raise MissingInputError(f"expected a datalist, but there is no file {request.datalist}")
    configuration = Configuration(request.bundle, request.presets, request.settings, request.datalist)
    check_settings(request.settings, sorted(request.space.ids()))
    metric, higher = _metric(request, configuration)
    files = [request.bundle / "configs" / "train.json", *configuration.presets, request.datalist]
    fixed = (request.space.fingerprint, request.settings, metric, higher, request.fold, request.seed)
    storage = TrialStorage(
        request.storage or f"sqlite:///{(out / OWN_DATABASE).resolve()}",
        request.study,
        higher_is_better=higher,
        pruner=PRUNERS[request.pruner](),
        fingerprint=digest(files, *fixed),
    )
    search = Search(request, metric, higher, configuration.has("cache_dir"), storage, out)
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
        raise SpineError(f"none of {counted(len(trials), 'trial')} was completed; see {search.out / 'trials.csv'}")
    failed = {trial.number: reason(trial) for trial in trials if reason(trial)}
    return TuningResult(search.storage.study.best_trial, search.metric, len(trials), failed)
