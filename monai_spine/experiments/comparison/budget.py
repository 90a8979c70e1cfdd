"""How many epochs a budget of minutes pays for: measured on a few steps of the very training that is to run.

The number must be known beforehand, since learning-rate schedules are laid out over all epochs.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import recorded, run_step
from monai_spine.experiments.comparison.training import Site, settings_of
from monai_spine.files import write_text
from monai_spine.training.run_record import read_record

_BATCHES = 3
"""So many of training and of validation in a short epoch."""

_BATCH = 4
"""Items of a batch, where the configuration does not say it in a number."""

_EPOCHS = 3
"""Short epochs; the first fills caches and is not counted."""


@dataclass(frozen=True)
class Cost:
    """What an epoch costs, seconds: of processor time on a CPU, by the clock on a GPU.

    Attributes
    ----------
    training, validation
        A training item with its step, a validation item.
    rest
        What else an epoch does: pictures, states, batch statistics.
    """

    training: float
    validation: float
    rest: float

    def epoch(self, training: int, validation: int) -> float:
        """Seconds of an epoch of so many items."""
        return self.training * training + self.validation * validation + self.rest

    def epochs(self, minutes: float, training: int, validation: int) -> int:
        """Whole epochs that fit into so many minutes, at least one."""
        return max(1, math.floor(60 * minutes / self.epoch(training, validation)))

    def as_dict(self) -> dict[str, float]:
        """Seconds by name."""
        return {name: round(seconds, 5) for name, seconds in asdict(self).items()}


def measure(site: Site, root: Path) -> Cost:
    """Train a few short epochs on a few items of the datalist, in a folder that is removed afterwards.

    Raises
    ------
    BundleRunError
        If that fails.
    """
    shutil.rmtree(root, ignore_errors=True)
    batch = site.part.entry("batch_size")
    batch = int(batch) if str(batch).isdecimal() else _BATCH
    write_text(root / "datalist.json", json.dumps(_few(site.datalist, site.fold, _BATCHES * batch)))
    probe = Site(site.part, root / "datalist.json", site.fold, site.bundle)
    record = root / "epochs.jsonl"
    configs = [*site.part.configs, recorded(record)]
    log = root.parent / "log.txt"
    run_step("training", configs, settings_of(probe, root, epochs=_EPOCHS), log)
    cost = _cost(read_record(record)[1:])
    shutil.rmtree(root)
    return cost


def _cost(lines: Sequence[dict[str, Any]]) -> Cost:
    """The least that was measured: whatever else the machine does only adds to it."""
    clock = "processor_seconds" if lines[0]["device"] == "cpu" else "seconds"
    each = {
        name: min(line[name][clock] / max(1, line[name]["items"]) for line in lines)
        for name in ("training", "validation")
    }
    rest = min(line[clock] - line["training"][clock] - line["validation"][clock] for line in lines)
    return Cost(each["training"], each["validation"], max(0.0, rest))


def _few(datalist: Path, fold: int, wanted: int) -> dict[str, Any]:
    """A datalist of so many items of training, and of validation, with all labels in turn and absolute paths."""
    content: dict[str, Any] = json.loads(datalist.read_text(encoding="utf-8"))
    entries = content["training"]
    sides = [[e for e in entries if e["fold"] != fold], [e for e in entries if e["fold"] == fold]]
    chosen = [entry for side in sides for entry in _in_turn(side)[:wanted]]
    folder = datalist.parent.resolve()
    return {**content, "training": [_placed(entry, folder) for entry in chosen], "test": []}


def _in_turn(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of every label, then the second of every label, and so on."""
    seen: dict[str, int] = {}
    ranks = []
    for entry in entries:
        label = json.dumps(entry.get("label"))
        seen[label] = seen.get(label, 0) + 1
        ranks.append(seen[label])
    order = sorted(range(len(entries)), key=lambda n: ranks[n])
    return [entries[n] for n in order]


def _placed(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    def is_paths(value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)

    return {key: [str(folder / one) for one in value] if is_paths(value) else value for key, value in entry.items()}
