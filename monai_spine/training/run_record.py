"""Figures and cost of each epoch of a run, a line of JSON for each, for commands that watch or compare runs."""

import json
import math
import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events


@dataclass(frozen=True)
class Instant:
    """A moment: clock, and processor time of this process and its finished children, in seconds."""

    clock: float = field(default_factory=time.perf_counter)
    processor: float = field(default_factory=lambda: sum(os.times()[:4]))


class RunRecord:
    """Appends a line to a file after every epoch of a training.

    Each holds ``epoch`` and ``epochs``; the validation's ``metrics`` (null where not defined); for ``training`` and
    ``validation`` the ``items`` seen, ``seconds`` and ``processor_seconds``; ``seconds`` and ``processor_seconds``
    since the line before, or since the run was set up; the number of the network's ``parameters``; the ``device``; and
    the ``peak_memory`` in bytes, of the GPU or else of the process.

    Parameters
    ----------
    path
        The file.
    evaluator
        The validation's engine.
    parent
        The process that started the run: when it has ended, the run ends. None never ends the run.
    """

    def __init__(self, *, path: str, evaluator: Engine, parent: int | None = None) -> None:
        self.path = Path(path)
        self.evaluator = evaluator
        self.parent = parent
        self._before = Instant()
        self._training, self._validation = _Stretch(), _Stretch()

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer and its validation. Attach after the handler that validates."""
        self._training.attach(engine)
        self._validation.attach(self.evaluator)
        for one in (engine, self.evaluator):
            one.add_event_handler(Events.ITERATION_COMPLETED, self._end_with_parent)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _end_with_parent(self) -> None:
        # a process whose parent has ended gets another one; it would go on training for nobody
        if self.parent is not None and os.getppid() != self.parent:
            raise SystemExit("error: the command that started this run has ended, so the run ends")

    def _write(self, trainer: Engine) -> None:
        if idist.get_rank() != 0:
            return
        now = Instant()
        network: torch.nn.Module = trainer.network  # type: ignore[attr-defined]
        device = next(network.parameters()).device
        line = {
            "epoch": trainer.state.epoch,
            "epochs": trainer.state.max_epochs,
            "metrics": _defined(self.evaluator.state.metrics),
            "training": self._training.as_dict(),
            "validation": self._validation.as_dict(),
            **_spent(self._before, now),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "device": device.type,
            "peak_memory": _peak_memory(device),
        }
        self._before = now
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class _Stretch:
    """From the beginning of an engine's epoch to its last iteration."""

    def __init__(self) -> None:
        self.items, self.begin, self.end = 0, Instant(), Instant()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)

    def as_dict(self) -> dict[str, float]:
        return {"items": self.items, **_spent(self.begin, self.end)}

    def _start(self) -> None:
        self.items, self.begin = 0, Instant()
        self.end = self.begin

    def _count(self, engine: Engine) -> None:
        self.items += _size(engine.state.batch)
        self.end = Instant()


def read_record(path: Path) -> list[dict[str, Any]]:
    """The lines of a record, one for each epoch; none without a file.

    Where an epoch was run twice the last line counts. A line that a killed run left incomplete is skipped.
    """
    lines: dict[int, dict[str, Any]] = {}
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for line in text.splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        lines[content["epoch"]] = content
    return [lines[epoch] for epoch in sorted(lines)]


def _spent(begin: Instant, end: Instant) -> dict[str, float]:
    seconds = {"seconds": end.clock - begin.clock, "processor_seconds": end.processor - begin.processor}
    return {name: round(value, 4) for name, value in seconds.items()}


def _defined(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """The metrics that are numbers; None where they are not finite."""
    numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _size(batch: Any) -> int:
    """The number of items of a batch: a list of items, or a dictionary or a sequence of stacked ones."""
    if isinstance(batch, list) and batch and isinstance(batch[0], Mapping):
        return len(batch)
    first = next(iter(batch.values())) if isinstance(batch, Mapping) else batch[0]
    return len(first)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # Linux counts in kilobytes, macOS in bytes
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(kilobytes * (1 if sys.platform == "darwin" else 1024))
