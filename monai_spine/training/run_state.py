"""A training run's state on disk: written after every epoch, read again when the run is resumed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import ignite.distributed as idist
from ignite.engine import Engine, Events

from monai_spine.errors import InvalidOptionError, InvalidTableError
from monai_spine.weights import load_safely, save_atomically

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """Anything with the two methods of a state."""

    def state_dict(self) -> Mapping[str, Any]:
        """The state to write."""

    def load_state_dict(self, state: Any) -> Any:
        """Go on from it."""


class RunState:
    """Writes everything that a run needs to go on, and reads it again.

    Parameters
    ----------
    parts
        Network, optimizer, schedule, best model … by name; their states are tensors and plain Python.
    path
        The file, for example ``models/latest.pt``.
    keep
        Other files of a run, such as the best weights. When a new run starts in the same place, these files and the
        state of the earlier run are moved to a folder beside them.
    """

    def __init__(self, *, parts: Mapping[str, Stateful], path: str, keep: tuple[str, ...] | list[str] = ()) -> None:
        self.parts = dict(parts)
        self.path = Path(path)
        self.keep = tuple(Path(file) for file in keep)

    def attach(self, trainer: Engine, resume: bool = False) -> None:
        """Resume the run if asked to, else move an earlier one aside; then write the state after each epoch.

        Raises
        ------
        MissingInputError
            If there is no run to resume.
        InvalidTableError
            If the file is damaged, or holds a run of another length or of other parts.
        """
        if not isinstance(resume, bool):  # Fire passes "--resume true" as a word, which is truthy, as is "false"
            raise InvalidOptionError(f"expected resume as True or False, but found {resume!r}; write --resume True")
        if resume:
            self._resume(trainer)
        else:
            self._move_aside()
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _save(self, trainer: Engine) -> None:
        if idist.get_rank() == 0:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            progress = {"epoch": trainer.state.epoch, "max_epochs": trainer.state.max_epochs}
            # written whole or not at all: a kill while writing must not lose the state of the epoch before
            save_atomically({"parts": states, "progress": progress}, self.path)

    def _resume(self, trainer: Engine) -> None:
        content = load_safely(self.path)
        progress, states = content.get("progress"), content.get("parts")
        if not isinstance(progress, dict) or not isinstance(states, dict) or set(states) != set(self.parts):
            raise InvalidTableError(f"{self.path}: expected the state of a run with the parts {sorted(self.parts)}")
        planned = trainer.state.max_epochs
        if progress["max_epochs"] != planned:
            raise InvalidTableError(
                f"{self.path} holds a run planned for {progress['max_epochs']} epochs, but {planned} are asked for; "
                "its learning-rate schedule would no longer fit: give the same number, or start a new run"
            )
        if progress["epoch"] >= planned:
            raise InvalidTableError(
                f"{self.path}: this run has finished its {planned} epochs; nothing is left to resume"
            )
        for name, part in self.parts.items():
            part.load_state_dict(states[name])
        # also the iteration: the momentum of a moving average follows from it
        trainer.state.epoch = progress["epoch"]
        trainer.state.iteration = progress["epoch"] * (trainer.state.epoch_length or 0)
        logger.info("resumed after epoch %d of %d: %s", progress["epoch"], planned, self.path)

    def _move_aside(self) -> None:
        earlier = [file for file in (self.path, *self.keep) if file.exists()]
        if earlier and idist.get_rank() == 0:
            folder = self.path.parent / time.strftime("earlier-%Y%m%d-%H%M%S")
            folder.mkdir(parents=True)
            for file in earlier:
                file.replace(folder / file.name)
            logger.info("an earlier run was moved to %s", folder)
