"""A training run's state on disk: written after every epoch, read again when the run is resumed."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, SpineError, counted, listed
from monai_spine.files import PARTIAL
from monai_spine.output_lock import release, take
from monai_spine.training.schedules import extends, may_be_extended
from monai_spine.weights import load_safely, save_atomically

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

AUTO = "auto"
"""The value of ``resume`` with which a run goes on if there is one, and else starts."""
STATE = "latest.pt"
_PREVIOUS = "previous.pt"
_SHOWN = 8
"""How many differing settings an error names."""


class Stateful(Protocol):
    """Anything with the two methods of a state."""

    def state_dict(self) -> Mapping[str, Any]:
        """The state to write."""

    def load_state_dict(self, state: Any) -> Any:
        """Go on from it."""


def resumes(resume: bool | str, folder: str | Path) -> bool:
    """Whether a run goes on from the state in a folder, such as ``models``.

    Parameters
    ----------
    resume
        True, False, or ``auto``: if there is a state.

    Raises
    ------
    InvalidOptionError
        If ``resume`` is something else.
    """
    # Fire passes "--resume true" as a word, which is truthy, as is "false"
    if not isinstance(resume, bool) and resume != AUTO:
        raise InvalidOptionError(
            f"expected resume as True, False or {AUTO}, but found {resume!r}; write --resume True or --resume {AUTO}"
        )
    if resume == AUTO:
        return any((Path(folder) / name).is_file() for name in (STATE, _PREVIOUS))
    return bool(resume)


class RunState:
    """Writes everything that a run needs to go on, and reads it again.

    With it, a run that was killed at any moment and resumed ends as one that was never stopped. Random numbers are no
    part of it, because each epoch has its own (see `ReseedEachEpoch`).

    Parameters
    ----------
    parts
        Network, optimizer, schedule, best model … by name; their states are tensors and plain Python.
    folder
        Where ``latest.pt`` is written. While the run goes on, ``previous.pt`` beside it holds the epoch before.
    keep
        Other files of a run, such as the best weights. When a new run starts in the same place, these files and the
        state of the earlier run are moved to a folder beside them.
    settings
        What the run's result depends on: texts by name. A run is resumed only with the same.
    """

    def __init__(
        self,
        *,
        parts: Mapping[str, Stateful],
        folder: str | Path,
        keep: tuple[str, ...] | list[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.parts = dict(parts)
        self.path, self.previous = Path(folder) / STATE, Path(folder) / _PREVIOUS
        self.keep = tuple(Path(file) for file in keep)
        self.settings = dict(settings or {})

    def attach(self, trainer: Engine, resume: bool | str = False) -> bool:
        """Resume the run if asked to, else move an earlier one aside; then write the state after each epoch.

        Returns
        -------
        bool
            Whether there is anything to train: False for a finished run and ``resume="auto"``, which is logged.

        Raises
        ------
        MissingInputError
            If there is no run to resume.
        InvalidOptionError
            If ``resume`` has another value than `resumes` takes.
        InvalidTableError
            If the file is damaged, holds a run of another length, of other parts or of other settings, or if
            ``resume`` is True and the run has finished.
        OutputError
            If another process trains in this folder, or it cannot be written to.
        """
        # All processes do what the first one decides: on a mounted bucket the others may see an older file, and on
        # machines without a shared disk none.
        going_on = _of_first_process(lambda: resumes(resume, self.path.parent))
        if idist.get_rank() == 0:
            take(self.path.parent)  # two trainings at once would overwrite each other's weights
        if going_on:
            if not self._resume(trainer, finished_is_error=resume is True):
                release(self.path.parent)
                return False
        else:
            self._move_aside()
        self._remove_partial_files()
        trainer.add_event_handler(Events.EPOCH_STARTED, self._share_buffers)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        trainer.add_event_handler(Events.COMPLETED, self._remove_previous)
        return True

    def _save(self, trainer: Engine) -> None:
        if idist.get_rank() == 0:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            progress = {
                "epoch": trainer.state.epoch,
                "max_epochs": trainer.state.max_epochs,
                # early stopping asks the trainer to end before this handler is called
                "ended": bool(trainer.should_terminate) or trainer.state.epoch == trainer.state.max_epochs,
            }
            # A kill while writing leaves latest.pt as it was; one between the two renamings leaves previous.pt. The
            # epoch that is lost is trained again, and comes out the same.
            content = {"parts": states, "progress": progress, "settings": self.settings}
            save_atomically(content, self.path, previous=self.previous)

    def _resume(self, trainer: Engine, *, finished_is_error: bool) -> bool:
        path, content = _of_first_process(self._read)
        progress, states = content.get("progress"), content.get("parts")
        if not isinstance(progress, dict) or not isinstance(states, dict) or set(states) != set(self.parts):
            raise InvalidTableError(f"{path}: expected the state of a run with the parts {sorted(self.parts)}")
        self._check_settings(path, content.get("settings") or {})
        epoch, planned, asked = progress["epoch"], progress["max_epochs"], trainer.state.max_epochs or 0
        if planned != asked and not self._extends(states, progress, asked):
            more = " (finished, it may get more)" if may_be_extended(self.parts.get("lr_scheduler")) else ""
            raise InvalidTableError(
                f"{path} holds a run planned for {counted(planned, 'epoch')}, but {asked} are asked for: with its "
                f"learning-rate schedule, all earlier rates would have been others. Give the same number{more}, or "
                "start a new run from its weights with --resume False --weights FILE; see docs/reference/bundles.md"
            )
        # a run that early stopping ended has finished, too
        if epoch >= asked or (progress.get("ended") and planned == asked):
            message = (
                f"{path}: this run has finished after {epoch} of {counted(asked, 'epoch')}; nothing is left to resume"
            )
            if finished_is_error:
                raise InvalidTableError(message)
            logger.info(message)
            return False
        for name, part in self.parts.items():
            part.load_state_dict(states[name])
        # also the iteration: the momentum of a moving average follows from it
        trainer.state.epoch = epoch
        trainer.state.iteration = epoch * (trainer.state.epoch_length or 0)
        more = f", {asked - planned} more than planned" if asked > planned else ""
        logger.info("resumed after epoch %d of %d%s: %s", epoch, asked, more, path)
        return True

    def _read(self) -> tuple[Path, dict[str, Any]]:
        """The state of the last epoch, or of the one before if that is missing or damaged."""
        try:
            return self.path, _mapping(self.path)
        except SpineError as error:
            if not self.previous.is_file():
                raise
            content = _mapping(self.previous)
            # a kill between the two renamings of `save_atomically` is no damage
            log = logger.info if isinstance(error, MissingInputError) else logger.warning
            log("%s; goes on from the epoch before: %s", error, self.previous)
            return self.previous, content

    def _check_settings(self, path: Path, earlier: Mapping[str, str]) -> None:
        if not earlier:  # a state without settings: written by a program that gave none
            return
        differing = [
            f"{name} is {self.settings.get(name, 'not set')}, but was {earlier.get(name, 'not set')}"
            for name in sorted({*earlier, *self.settings})
            if earlier.get(name) != self.settings.get(name)
        ]
        if differing:
            raise InvalidTableError(
                f"{path} holds a run with other settings: {listed(differing, '; ', _SHOWN)}. Give the same settings, "
                "or start a new run with --resume False"
            )

    def _extends(self, states: Mapping[str, Any], progress: Mapping[str, Any], asked: int) -> bool:
        """Whether more epochs may follow; see `monai_spine.training.schedules.extends`."""
        schedule = self.parts.get("lr_scheduler")
        return asked > progress["max_epochs"] and extends(schedule, states["lr_scheduler"])

    def _share_buffers(self) -> None:
        # The state is that of the first process. Batch statistics differ between processes, so all begin an epoch with
        # those of the first one, as they do after a resume.
        if idist.get_world_size() > 1:
            modules = [part for part in self.parts.values() if isinstance(part, torch.nn.Module)]
            for buffer in (buffer for module in modules for buffer in module.buffers()):
                torch.distributed.broadcast(buffer, 0)

    def _move_aside(self) -> None:
        earlier = [file for file in (self.path, self.previous, *self.keep) if file.exists()]
        if earlier and idist.get_rank() == 0:
            folder = self.path.parent / time.strftime("earlier-%Y%m%d-%H%M%S")
            folder.mkdir(parents=True)
            for file in earlier:
                file.replace(folder / file.name)
            logger.info("an earlier run was moved to %s", folder)

    def _remove_partial_files(self) -> None:
        if idist.get_rank() == 0:
            for file in (self.path, *self.keep):
                for partial in file.parent.glob(f".{file.name}.*{PARTIAL}"):
                    partial.unlink(missing_ok=True)

    def _remove_previous(self) -> None:
        if idist.get_rank() == 0:
            self.previous.unlink(missing_ok=True)
            release(self.path.parent)


def _of_first_process(read: Callable[[], Result]) -> Result:
    """What a function returns in the first process, in all of them; only that one calls it."""
    if idist.get_world_size() == 1:
        return read()
    box: list[Any] = [read() if idist.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(box)
    result: Result = box[0]
    return result


def _mapping(path: Path) -> dict[str, Any]:
    content = load_safely(path)
    if not isinstance(content, dict):
        raise InvalidTableError(f"{path}: expected the state of a run, but found {type(content).__name__}")
    return content
