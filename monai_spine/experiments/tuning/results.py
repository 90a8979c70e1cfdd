"""Results of a search: the best configuration, a table of all trials, pictures, and TensorBoard's hyper-parameters."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from monai_spine.errors import InvalidOptionError
from monai_spine.experiments.tuning.search import Search, reason
from monai_spine.experiments.tuning.storage import finished
from monai_spine.files import csv_text, read_json, whole_file, write_figure, write_json, write_text

_COLUMNS = ("number", "state", "value", "epoch", "epochs", "minutes", "seed")
_SUMMARY = "search.json"
_FEWEST = 4
"""The fewest different figures from which importances are computed."""
_STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "ended early",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def write_results(search: Search, override: Mapping[str, Any]) -> None:
    """Write the results so far.

    These are ``trials.csv`` and ``search.json``. When a trial is done, also ``best.json``, ``history.png`` and
    ``tensorboard/``; from the second one on, ``importances.png`` and ``parallel.png``.

    ``override``: what all trials change in the bundle's ``train.json``: presets and settings.
    """
    study, out = search.storage.study, search.out
    trials = study.get_trials(deepcopy=False)
    write_text(out / "trials.csv", _table(trials))
    done = finished(study)
    best = study.best_trial if done else None
    write_json(out / _SUMMARY, _summary(search, best, trials))
    if best is None:
        return
    write_json(out / "best.json", {**override, **_chosen(search, best)})
    metric = search.metric
    write_history(out / "history.png", trials, metric, search.higher_is_better)
    if len(done) > 1:
        write_importances(out / "importances.png", importances(study), metric)
        write_parallel(out / "parallel.png", study, metric)
    for trial in trials:
        _write_hparams(out / "tensorboard", trial, metric)


def check_folder(search: Search) -> None:
    """Make sure that the folder does not hold another search, because this one would replace its trials' folders.

    Raises `InvalidOptionError` if it does.
    """
    path = search.out / _SUMMARY
    if not path.is_file():
        return
    earlier = read_json(path)
    own = {"study": search.storage.study.study_name, "storage": search.storage_name}
    if any(earlier.get(name) != value for name, value in own.items()):
        raise InvalidOptionError(
            f"{search.out} holds the results of the search {earlier.get('study')!r} in {earlier.get('storage')}; "
            "give this one a folder of its own"
        )


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of the figure's variance that each parameter explains, of 1 in all; empty for too few trials.

    Computed by functional ANOVA (Hutter et al., An efficient approach for assessing hyperparameter importance, 2014).
    """
    if len({trial.value for trial in finished(study)}) < _FEWEST:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fanova = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return optuna.importance.get_param_importances(study, evaluator=fanova)
    except (RuntimeError, ValueError):
        return {}


def _chosen(search: Search, trial: FrozenTrial) -> dict[str, Any]:
    # The names of choices are stored, not their values: the space translates them back.
    fixed = optuna.trial.FixedTrial(dict(trial.params))
    return search.request.space.suggest(fixed)  # type: ignore[arg-type]


def _summary(search: Search, best: FrozenTrial | None, trials: list[FrozenTrial]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for trial in trials:
        counts[_state(trial)] = counts.get(_state(trial), 0) + 1
    return {
        "study": search.storage.study.study_name,
        "storage": search.storage_name,
        "metric": search.metric,
        "direction": "maximize" if search.higher_is_better else "minimize",
        "seed": search.request.seed,
        "trials": counts,
        "best": None if best is None else _best(best),
        "importances": importances(search.storage.study),
    }


def _best(trial: FrozenTrial) -> dict[str, Any]:
    attributes = {name: value for name, value in trial.user_attrs.items() if name in _COLUMNS}
    return {"number": trial.number, "value": trial.value, "parameters": dict(trial.params), **attributes}


def _state(trial: FrozenTrial) -> str:
    if trial.state is TrialState.FAIL:
        return "failed" if reason(trial) else "interrupted"
    return _STATES[trial.state]


def _table(trials: list[FrozenTrial]) -> str:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    columns = [*_COLUMNS, *names, "reason"]
    rows: list[list[Any]] = [columns]
    for trial in trials:
        own = {"number": trial.number, "state": _state(trial), "value": trial.value, "reason": reason(trial)}
        row = {**trial.user_attrs, **trial.params, **own}
        rows.append([row.get(name) for name in columns])
    return csv_text(rows)


def _write_hparams(folder: Path, trial: FrozenTrial, metric: str) -> None:
    """Write a run of TensorBoard for a trial with a figure, once."""
    run = folder / f"trial_{trial.number:04d}"
    if trial.value is None or not trial.state.is_finished() or run.exists():
        return
    writer = SummaryWriter(str(run))
    chosen = {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in trial.params.items()
    }
    for summary in hparams({**chosen, "state": _state(trial)}, {f"best/{metric}": trial.value}):
        writer._get_file_writer().add_summary(summary)  # `add_hparams` would add a second run
    writer.add_scalar(f"best/{metric}", trial.value)
    for epoch, figure in sorted(trial.intermediate_values.items()):
        writer.add_scalar(f"validation/{metric}", figure, epoch)
    writer.close()


_FINISHED, _ENDED, _BEST = "#1f5fa8", "#c4c4c4", "#d98c2b"


def write_history(path: Path, trials: Sequence[FrozenTrial], metric: str, higher_is_better: bool) -> None:
    """The figure of every trial, and the best so far. A trial that was ended early is shown at its last figure."""
    figure = Figure(figsize=(8, 4.2), layout="constrained", dpi=120)
    axes = figure.subplots()
    for state, colour, label in ((TrialState.COMPLETE, _FINISHED, "done"), (TrialState.PRUNED, _ENDED, "ended early")):
        own = [trial for trial in trials if trial.state is state and trial.value is not None]
        if own:
            values = [_value(trial) for trial in own]
            axes.scatter([trial.number for trial in own], values, color=colour, label=label, s=28, zorder=3)
    done = _done(trials)
    values = [_value(trial) for trial in done]
    best = np.maximum.accumulate(values) if higher_is_better else np.minimum.accumulate(values)
    axes.step([t.number for t in done], best, where="post", color=_BEST, label="best so far", linewidth=1.6)
    axes.set_xlabel("trial")
    axes.set_ylabel(metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="best", fontsize=9)
    _tidy(axes)
    write_figure(path, figure)


def write_importances(path: Path, importances: Mapping[str, float], metric: str) -> None:
    """A bar for each parameter, or a picture that says that there are too few trials."""
    figure = Figure(figsize=(8, 1.3 + 0.4 * max(1, len(importances))), layout="constrained", dpi=120)
    axes = figure.subplots()
    if not importances:
        axes.text(0.5, 0.5, "too few trials that differ", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        write_figure(path, figure)
        return
    names = list(importances)[::-1]
    bars = axes.barh(names, [importances[name] for name in names], color=_FINISHED, height=0.6)
    axes.bar_label(bars, [f"{importances[name]:.2f}" for name in names], padding=4, fontsize=9)
    axes.set_xlim(0, 1.1 * max(1e-9, *importances.values()))
    axes.set_xlabel(f"share of the variance of {metric}")
    _tidy(axes)
    write_figure(path, figure)


def write_parallel(path: Path, study: optuna.Study, metric: str) -> None:
    """A line for each trial that is done, through an axis for the figure and one for each parameter."""
    axes = optuna.visualization.matplotlib.plot_parallel_coordinate(study, target_name=metric)
    figure = cast("Figure", axes.figure)
    axes.set_title("darker is better", fontsize=9)
    figure.set_size_inches(2.2 + 1.7 * len(figure.axes), 4.8)
    with whole_file(path) as partial:
        # Tight, because optuna turns the names of parameters, which would be cut.
        figure.savefig(partial, format="png", dpi=120, bbox_inches="tight")
    pyplot.close(figure)  # optuna opens figures through pyplot, which keeps them


def _done(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state is TrialState.COMPLETE]


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.value is None else float(trial.value)


def _tidy(axes: Axes) -> None:
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
