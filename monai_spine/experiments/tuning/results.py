"""Results of a search: the best configuration, a table of all trials, pictures, and TensorBoard's hyper-parameters."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from monai_spine.errors import InvalidOptionError
from monai_spine.experiments.tuning.pictures import write_history, write_importances, write_parallel
from monai_spine.experiments.tuning.search import Search, reason
from monai_spine.experiments.tuning.storage import finished
from monai_spine.files import write_text

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

    Parameters
    ----------
    override
        What all trials change in the bundle's ``train.json``: presets and settings.
    """
    study, out = search.storage.study, search.out
    trials = study.get_trials(deepcopy=False)
    write_text(out / "trials.csv", _table(trials))
    done = finished(study)
    best = study.best_trial if done else None
    write_text(out / _SUMMARY, json.dumps(_summary(search, best, trials), indent=2) + "\n")
    if best is None:
        return
    write_text(out / "best.json", json.dumps({**override, **_chosen(search, best)}, indent=2) + "\n")
    metric = search.common.metric
    write_history(out / "history.png", trials, metric, search.common.higher_is_better)
    if len(done) > 1:
        write_importances(out / "importances.png", importances(study), metric)
        write_parallel(out / "parallel.png", trials, metric, search.common.higher_is_better)
    for trial in trials:
        _write_hparams(out / "tensorboard", trial, metric)


def check_folder(search: Search) -> None:
    """Make sure that the folder does not hold another search, because this one would replace its trials' folders.

    Raises
    ------
    InvalidOptionError
        If it does.
    """
    path = search.out / _SUMMARY
    if not path.is_file():
        return
    earlier = json.loads(path.read_text(encoding="utf-8"))
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
    return search.space.suggest(fixed)  # type: ignore[arg-type]


def _summary(search: Search, best: FrozenTrial | None, trials: list[FrozenTrial]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for trial in trials:
        counts[_state(trial)] = counts.get(_state(trial), 0) + 1
    return {
        "study": search.storage.study.study_name,
        "storage": search.storage_name,
        "metric": search.common.metric,
        "direction": "maximize" if search.common.higher_is_better else "minimize",
        "seed": search.seed,
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
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_COLUMNS, *names, "reason"], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for trial in trials:
        figure = trial.value if trial.value is not None else ""
        row = {"number": trial.number, "state": _state(trial), "value": figure, "reason": reason(trial)}
        writer.writerow({**trial.user_attrs, **trial.params, **row})
    return text.getvalue()


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
