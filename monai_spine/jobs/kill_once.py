"""Kills one process of a training once, to rehearse what a job does then."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events


class KillOnce:
    """A handler of the trainer that kills its process in the middle of an epoch, unless a file says that it did.

    Parameters
    ----------
    mark
        The file; it holds what was killed.
    epoch
        The epoch in which to kill, from 1.
    rank
        The process to kill.
    """

    def __init__(self, mark: str, epoch: int, rank: int) -> None:
        self.mark, self.epoch, self.rank = Path(mark), epoch, rank

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._kill)

    def _kill(self, engine: Engine) -> None:
        if engine.state.epoch == self.epoch and idist.get_rank() == self.rank and not self.mark.exists():
            self.mark.write_text(f"process {self.rank} in epoch {engine.state.epoch}", encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)
