"""One training of a search: in a folder of its own, with its figure read after every epoch."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import BundleStopped, Settings, record_config, run_step, training_configs
from monai_spine.errors import InvalidOptionError
from monai_spine.experiments.fold_run import fold_settings
from monai_spine.files import write_text
from monai_spine.training.run_record import read_record


@dataclass(frozen=True)
class CommonSettings:
    """What all trials have in common.

    Attributes
    ----------
    metric, higher_is_better
        A figure of the validation, and whether more of it is better.
    presets
        Further configuration files of the bundle.
    settings
        Configuration entries by name, with values as text.
    fold
        The fold that validates.
    has_cache
        Whether the bundle has a ``cache_dir``. Trials share it, because a cache's files are named by a digest of what
        they were made with.
    """

    bundle: Path
    datalist: Path
    metric: str
    higher_is_better: bool
    presets: tuple[Path, ...]
    settings: Settings
    fold: int
    seed: int
    has_cache: bool

    def better(self, one: float, other: float) -> bool:
        """Whether one figure is better than another."""
        return one > other if self.higher_is_better else one < other


@dataclass(frozen=True)
class TrialResult:
    """The best figure of a training, its epoch, and how many epochs there were."""

    value: float
    epoch: int
    epochs: int


def run_trial(
    common: CommonSettings, root: Path, overrides: Mapping[str, Any], prune: Callable[[int, float], bool]
) -> TrialResult | None:
    """Train with some entries of the configuration changed.

    Writes ``overrides.json``, ``epochs.jsonl`` and ``log.txt`` to ``root``, and the best weights unless it was pruned.

    Parameters
    ----------
    prune
        Called with every epoch and its figure; True ends the training.

    Returns
    -------
    TrialResult or None
        None if the training was ended early.

    Raises
    ------
    BundleRunError
        If the training fails.
    InvalidOptionError
        If the validation does not have the figure, or the figure is not defined in any epoch.
    """
    # What an interrupted search left behind.
    shutil.rmtree(root, ignore_errors=True)
    chosen = root / "overrides.json"
    write_text(chosen, json.dumps({**overrides, "seed": common.seed}, indent=2) + "\n")
    record = root / "epochs.jsonl"
    configs = [*training_configs(common.bundle, common.presets), chosen, record_config(record)]
    pruning = _Pruning(common, record, prune)
    try:
        run_step("training", configs, _settings(common, root), root / "log.txt", stop=pruning)
    except BundleStopped:
        shutil.rmtree(root / "models", ignore_errors=True)
        return None
    # Only needed to resume, and a trial is never resumed.
    (root / "models" / "latest.pt").unlink(missing_ok=True)
    lines = read_record(record)
    figures = [(figure, line["epoch"]) for line in lines if (figure := _figure(common, line)) is not None]
    if not figures:
        raise InvalidOptionError(f"{common.metric} was not defined in any of {len(lines)} epochs; too few labels?")
    value, epoch = max(figures) if common.higher_is_better else min(figures)
    return TrialResult(value, epoch, len(lines))


class _Pruning:
    """Passes every new epoch of a record to ``prune``; called, it returns whether to stop the training."""

    def __init__(self, common: CommonSettings, record: Path, prune: Callable[[int, float], bool]) -> None:
        self.common, self.record, self.prune = common, record, prune
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
            figure = _figure(self.common, line)
            if figure is not None and self.prune(line["epoch"], figure) and line["epoch"] < line["epochs"]:
                return True
        return False


def _figure(common: CommonSettings, line: Mapping[str, Any]) -> float | None:
    metrics = line["metrics"]
    if common.metric not in metrics:
        raise InvalidOptionError(
            f"expected the figure {common.metric!r} of the validation, but found {', '.join(sorted(metrics))}"
        )
    value = metrics[common.metric]
    return None if value is None or not math.isfinite(value) else float(value)


def _settings(common: CommonSettings, root: Path) -> Settings:
    settings = [*common.settings, *fold_settings(common.bundle, common.datalist, common.fold, root)]
    if common.has_cache:
        settings.append(("cache_dir", str((root.parent / "cache").resolve())))
    return tuple(settings)
