"""What a run of ``predict`` says while it goes on: ``log.txt``, and when to write the tables again."""

from __future__ import annotations

import time
from pathlib import Path

from monai_spine.console import in_words
from monai_spine.errors import counted
from monai_spine.prediction.outcomes import Outcome

NAME = "log.txt"
_LEAST_SECONDS = 10.0
"""Seconds that pass at least from one writing of the tables to the next."""
_COST = 20
"""The pause is also at least this many times as long as the last writing. The tables hold all studies, so each writing
takes longer than the one before. With this pause, all of them take at most a twentieth of a run."""


class Progress:
    """Appends a line to ``log.txt`` for each study, with its seconds and an estimate of the time left.

    Parameters
    ----------
    out
        The output folder.
    total
        Number of studies.
    """

    def __init__(self, out: Path, total: int) -> None:
        self.path, self.total = out / NAME, total
        self.done = self.worked = 0
        self.seconds = 0.0
        self._begin = self._last = time.perf_counter()
        self._next = 0.0

    def start(self, text: str) -> None:
        """Write the first line, and begin the clock."""
        self._line(f"{counted(self.total, 'study')}; {text}")
        self._begin = self._last = time.perf_counter()

    def study(self, outcome: Outcome, *, kept: bool) -> None:
        """Write the line of a study; ``kept``: an earlier run has done it."""
        now = time.perf_counter()
        spent, self._last = now - self._last, now
        self.done += 1
        if not kept:
            self.worked, self.seconds = self.worked + 1, self.seconds + spent
        state = f"refused: {outcome.refused}" if outcome.refused else "graded"
        took = "done before" if kept else f"{outcome.seconds:.1f} s"
        # The time left goes by the clock, since other processes work at the same time.
        self._line(f"{self.done}/{self.total}  {outcome.study_id}  {state}  ({took}){self._left()}")

    def end(self, summary: str) -> None:
        """Write the last line."""
        self._line(summary)

    @property
    def pace(self) -> str:
        """Seconds a study, in words; empty if no study was worked on."""
        return f"{self.seconds / self.worked:.1f} s a study" if self.worked else ""

    def tables_due(self) -> bool:
        """Whether the tables are to be written now, while the run goes on."""
        return time.perf_counter() - self._begin >= self._next and self.done < self.total

    def tables_written(self, seconds: float) -> None:
        """Take note of how long it took."""
        self._next = time.perf_counter() - self._begin + max(_LEAST_SECONDS, _COST * seconds)

    def _left(self) -> str:
        remaining = self.total - self.done
        return f"  {in_words(self.seconds / self.worked * remaining)} left" if self.worked and remaining else ""

    def _line(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {' '.join(text.split())}\n")
