"""Base classes of handlers and metrics that see one volume or crop after the other and end with something for all.

They collect an entry per case after each iteration of an evaluator, and share the entries of all processes at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric

from monai_spine.geometry import Array
from monai_spine.training.engine_output import gathered, studies_of


class CaseWriter(ABC):
    """A handler that keeps an entry for each case, and writes all of them when an evaluator completes."""

    def __init__(self) -> None:
        self._entries: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Collect after each iteration, write at the end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._complete)

    @abstractmethod
    def entry(self, case: Mapping[str, Any]) -> tuple[str, Any]:
        """A unique key of a case, and what to keep of it."""

    @abstractmethod
    def write(self, entries: Mapping[str, Any]) -> None:
        """Write the entries of all processes; called in the first process only."""

    def _start(self) -> None:
        self._entries = {}

    def _collect(self, engine: Engine) -> None:
        self._entries |= dict(self.entry(case) for case in studies_of(engine))

    def _complete(self) -> None:
        entries = gathered(self._entries)  # every process must take part, so this comes before the check of the rank
        if idist.get_rank() == 0:
            self.write(entries)


class CaseMetric(Metric, ABC):
    """A metric that keeps rows of numbers for each case of an epoch, and makes one figure of all rows.

    ``figure``: one of `FIGURES`.
    Raises `ValueError` if there is no such figure.
    """

    FIGURES: ClassVar[tuple[str, ...]]

    def __init__(self, figure: str) -> None:
        if figure not in self.FIGURES:
            raise ValueError(f"expected one of the figures {', '.join(self.FIGURES)}, but given {figure!r}")
        self.figure = figure
        self._rows: dict[str, tuple[float, ...]] = {}
        super().__init__()

    @abstractmethod
    def rows(self, case: Mapping[str, Any]) -> Iterable[Iterable[float]]:
        """Rows of a case, all of one length."""

    @abstractmethod
    def value(self, rows: Array) -> float:
        """The figure of the rows ``(n, length)`` of all cases; ``n`` is at least 1."""

    def reset(self) -> None:
        """Forget the cases."""
        self._rows = {}

    def iteration_completed(self, engine: Engine) -> None:
        """Take the truth from the engine's batch and the maps from its output."""
        self.update(studies_of(engine))

    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch of cases."""
        for case in output:
            for row in self.rows(case):
                # The rank keeps the rows of several processes apart when they are gathered.
                self._rows[f"{idist.get_rank()}:{len(self._rows)}"] = tuple(map(float, row))

    def compute(self) -> float:
        """The figure; NaN without any case."""
        rows = gathered(self._rows)
        return self.value(np.array(list(rows.values()))) if rows else float("nan")


def array_of(tensor: Any) -> Array:
    """A tensor or array of a case, which may lie on a GPU, as float64."""
    return np.asarray(torch.as_tensor(tensor).cpu(), dtype=np.float64)
