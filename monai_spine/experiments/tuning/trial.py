"""One training of a search: in a folder of its own, watched epoch by epoch."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import BundleStopped, Settings, logging_setting, recorded, run_step, training_configs
from monai_spine.errors import InvalidOptionError
from monai_spine.files import write_text
from monai_spine.training.run_record import read_record


@dataclass(frozen=True)
class Setting:
    """What all trials have in common.

    Attributes
    ----------
    presets
        Further configuration files of the bundle.
    settings
        Configuration entries by name, in the words of the command line.
    metric
        A figure of the validation, and whether more of it is better.
    cached
        Whether the bundle keeps a cache, told apart by what it was made with, that trials may share.
    """

    bundle: Path
    datalist: Path
    metric: str
    higher_is_better: bool
    presets: tuple[Path, ...] = ()
    settings: Settings = ()
    fold: int = 0
    seed: int = 0
    cached: bool = False

    def better(self, one: float, other: float) -> bool:
        """Whether one figure is better than another."""
        return one > other if self.higher_is_better else one < other


@dataclass(frozen=True)
class Outcome:
    """The best figure of a training, its epoch, and how many epochs there were."""

    value: float
    epoch: int
    epochs: int


def run_trial(
    setting: Setting, root: Path, overrides: Mapping[str, Any], prune: Callable[[int, float], bool]
) -> Outcome | None:
    """Train with some entries of the configuration changed.

    Writes ``overrides.json``, ``epochs.jsonl``, ``log.txt`` and, unless it was pruned, the best weights, to ``root``.

    Parameters
    ----------
    prune
        Told of every epoch's figure; its answer ends the training.

    Returns
    -------
    Outcome or None
        None if the training was ended.

    Raises
    ------
    BundleRunError
        If the training fails.
    InvalidOptionError
        If the validation has no such figure, or it is not defined in any epoch.
    """
    shutil.rmtree(root, ignore_errors=True)
    chosen = root / "overrides.json"
    write_text(chosen, json.dumps({**overrides, "seed": setting.seed}, indent=2) + "\n")
    record = root / "epochs.jsonl"
    configs = [*training_configs(setting.bundle, setting.presets), chosen, recorded(record)]
    watch = _Watch(setting, record, prune)
    try:
        run_step("training", configs, _settings(setting, root), root / "log.txt", stop=watch)
    except BundleStopped:
        shutil.rmtree(root / "models", ignore_errors=True)
        return None
    (root / "models" / "latest.pt").unlink(missing_ok=True)
    lines = read_record(record)
    figures = [(figure, line["epoch"]) for line in lines if (figure := _figure(setting, line)) is not None]
    if not figures:
        raise InvalidOptionError(f"{setting.metric} was not defined in any of {len(lines)} epochs; too few labels?")
    value, epoch = max(figures) if setting.higher_is_better else min(figures)
    return Outcome(value, epoch, len(lines))


class _Watch:
    """Passes on every new epoch of a record, and says whether to stop."""

    def __init__(self, setting: Setting, record: Path, prune: Callable[[int, float], bool]) -> None:
        self.setting, self.record, self.prune = setting, record, prune
        self._seen, self._size = 0, 0

    def __call__(self) -> bool:
        size = self.record.stat().st_size if self.record.is_file() else 0
        if size == self._size:
            return False
        self._size = size
        lines = read_record(self.record)
        new, self._seen = lines[self._seen :], len(lines)
        for line in new:
            figure = _figure(self.setting, line)
            if figure is not None and self.prune(line["epoch"], figure) and line["epoch"] < line["epochs"]:
                return True
        return False


def _figure(setting: Setting, line: Mapping[str, Any]) -> float | None:
    metrics = line["metrics"]
    if setting.metric not in metrics:
        raise InvalidOptionError(
            f"the validation has no figure {setting.metric!r}; it has {', '.join(sorted(metrics))}"
        )
    value = metrics[setting.metric]
    return None if value is None or not math.isfinite(value) else float(value)


def _settings(setting: Setting, root: Path) -> Settings:
    own = [("fold", str(setting.fold)), ("bundle_root", str(root)), ("dataset_dir", str(setting.datalist.parent))]
    if setting.datalist.name != "datalist.json":
        own.append(("datalist", str(setting.datalist)))
    if setting.cached:
        own.append(("cache_dir", str((root.parent / "cache").resolve())))
    return (*setting.settings, *own, *logging_setting(setting.bundle))
