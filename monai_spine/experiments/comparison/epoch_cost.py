"""What an epoch of a candidate costs, measured on a few short ones."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import record_config, run_step
from monai_spine.experiments.fold_run import FoldRun
from monai_spine.files import read_json, write_text

_BATCHES = 3
"""How many batches a short epoch has, in training and in validation each."""

_BATCH = 4
"""Items of a batch, where the configuration does not give a number."""

_EPOCHS = 3
"""How many short epochs are run. The first one fills caches and is not counted."""


@dataclass(frozen=True)
class EpochCost:
    """What an epoch costs in seconds: of processor time on a CPU, by the clock on a GPU."""

    training: float
    validation: float
    """``training``, ``validation``: for one training item with its step, and for one validation item."""
    rest: float
    """For everything else in an epoch: pictures, states, batch statistics."""

    def epoch(self, training: int, validation: int) -> float:
        """Seconds of an epoch with so many items."""
        return self.training * training + self.validation * validation + self.rest

    def epochs(self, minutes: float, training: int, validation: int) -> int:
        """Complete epochs that fit into so many minutes, at least one."""
        return max(1, math.floor(60 * minutes / self.epoch(training, validation)))

    def as_dict(self) -> dict[str, float]:
        """Seconds by name."""
        return {name: round(seconds, 5) for name, seconds in asdict(self).items()}


def measure_epoch(run: FoldRun, batch_size: Any) -> EpochCost:
    """Train a few short epochs on a few items of the datalist, in a folder that is removed afterwards.

    ``batch_size``: as the configuration has it; an expression is text here and is not evaluated.
    Raises `BundleRunError` if the training fails.
    """
    root = run.root / "probe"
    shutil.rmtree(root, ignore_errors=True)
    batch = int(batch_size) if str(batch_size).isdecimal() else _BATCH
    write_text(root / "datalist.json", json.dumps(_few(run.datalist, run.fold, _BATCHES * batch)))
    probe = replace(run, datalist=root / "datalist.json", root=root, epochs=_EPOCHS, cache=None)
    configs = [*run.configs, record_config(root / "epochs.jsonl")]
    run_step("training", configs, probe.all_settings(), run.root / "log.txt")
    cost = _cost(probe.records[1:])
    shutil.rmtree(root)
    return cost


def _cost(lines: Sequence[dict[str, Any]]) -> EpochCost:
    """The least time of the short epochs: whatever else the machine does only adds to it."""
    # Processor time, because other work on the machine does not change it.
    clock = "processor_seconds" if lines[0]["device"] == "cpu" else "seconds"
    each = {
        name: min(line[name][clock] / max(1, line[name]["items"]) for line in lines)
        for name in ("training", "validation")
    }
    rest = min(line[clock] - line["training"][clock] - line["validation"][clock] for line in lines)
    return EpochCost(each["training"], each["validation"], max(0.0, rest))


def _few(datalist: Path, fold: int, count: int) -> dict[str, Any]:
    """A datalist of so many training items and as many validation items, with all labels and absolute paths."""
    content: dict[str, Any] = read_json(datalist)
    entries = content["training"]
    sides = [[e for e in entries if e["fold"] != fold], [e for e in entries if e["fold"] == fold]]
    chosen = [entry for side in sides for entry in _labels_in_turn(side)[:count]]
    folder = datalist.parent.resolve()
    return {**content, "training": [_absolute(entry, folder) for entry in chosen], "test": []}


def _labels_in_turn(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first item of every label, then the second of every label, and so on.

    Items of one label only would leave losses and metrics undefined.
    """
    seen: dict[str, int] = {}
    ranks = []
    for entry in entries:
        label = json.dumps(entry.get("label"))
        seen[label] = seen.get(label, 0) + 1
        ranks.append(seen[label])
    order = sorted(range(len(entries)), key=lambda n: ranks[n])
    return [entries[n] for n in order]


def _absolute(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A datalist's entry with absolute paths."""

    def is_paths(value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)

    return {key: [str(folder / one) for one in value] if is_paths(value) else value for key, value in entry.items()}
