"""A job on this machine: two of its machines as processes on the loopback address, one of whose workers is killed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import parse_settings
from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError, counted
from monai_spine.files import write_text
from monai_spine.jobs.description import Job, read_job, write_job
from monai_spine.jobs.job_folder import OWN
from monai_spine.jobs.platform_options import OFFERS
from monai_spine.jobs.platforms import PLATFORMS

_NODES = 2
_KILL_IN_EPOCH = 2
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 20.0


class RehearsalError(SpineError):
    """The rehearsal did not end as it should; the logs of its machines say why."""


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal showed.

    Attributes
    ----------
    killed
        What was killed.
    resumed
        After which epoch the training went on.
    seconds
        Of the undisturbed run and of the one with the kill.
    """

    platform: str
    epochs: int
    killed: str
    resumed: int
    seconds: tuple[float, float]

    def line(self) -> str:
        """One line for the user."""
        return (
            f"{self.platform}: {_NODES} machines trained {self.epochs} epochs in {self.seconds[0]:.0f} s; again, with "
            f"{self.killed} killed, they resumed after epoch {self.resumed} and ended with the same weights after "
            f"{self.seconds[1]:.0f} s. Nothing was submitted."
        )


def rehearse(
    folder: Path,
    out: Path,
    data: Path | None = None,
    *,
    studies: int = 8,
    epochs: int = 3,
    settings: Sequence[str] = (),
    minutes: float = 30.0,
    report: Callable[[str], None] = lambda _: None,
) -> Rehearsal:
    """Run a job twice on this machine, once with a killed worker, and compare the weights.

    Parameters
    ----------
    folder
        The job's folder.
    out
        A new folder for everything that the rehearsal writes.
    data
        A folder with a datalist on this machine, in place of the job's data; None takes the job's, if it is here.
    studies
        How many studies or images of the datalist are used.
    settings
        Further entries of the configuration, ``name=value``, such as those of a smaller network.
    minutes
        After these, the rehearsal ends with an error.

    Raises
    ------
    RehearsalError
        If a machine fails, nothing was resumed, or the weights differ.
    InvalidOptionError
        If the folder for the output exists, or there are too few epochs.
    MissingInputError
        If the data are not on this machine.
    """
    if epochs <= _KILL_IN_EPOCH:
        raise InvalidOptionError(
            f"expected at least {counted(_KILL_IN_EPOCH + 1, 'epoch')}, so that one is left after the kill"
        )
    if out.exists():
        raise InvalidOptionError(f"{out} exists; remove it, or choose another folder with -o")
    small = {"epochs": str(epochs), "device": "cpu", "num_workers": "0", **dict(parse_settings(settings, OWN))}
    job = _on_this_machine(read_job(folder), small)
    source = _source(job, data)
    deadline = time.monotonic() + 60 * minutes
    runs = {}
    for name, kill in (("undisturbed", False), ("killed", True)):
        report(f"{OFFERS[job.platform].title}, {_NODES} machines, {name}")
        runs[name] = _Run(job, folder, out.resolve() / name, kill)
        runs[name].prepare(source, studies)
        runs[name].run(deadline)
    return _compared(runs["undisturbed"], runs["killed"], epochs)


def _on_this_machine(job: Job, settings: Mapping[str, str]) -> Job:
    return dataclasses.replace(
        job,
        nodes=_NODES,
        accelerator=None,
        accelerators=0,
        max_restarts=1,
        configs=_several(job),
        settings={**job.settings, **settings},
    )


class _Run:
    """One run of all machines of a job, with a folder in place of the platform's storage."""

    def __init__(self, job: Job, source: Path, folder: Path, kill: bool) -> None:
        self.job, self.source, self.folder, self.kill = job, source, folder, kill
        self.platform = PLATFORMS[job.platform]
        self.mark = folder / "killed.txt"
        port = _free_port()
        self.environments = [
            {
                "SPINE_SCRATCH": str(folder / f"scratch-{node}"),
                **self.platform.rehearsal(job, node, folder / "storage", port),
            }
            for node in range(_NODES)
        ]
        self.placement = self.platform.placement(job, self.environments[0])
        self.seconds = 0.0

    def prepare(self, data: Path | None, studies: int) -> None:
        """Put the job and some of the data where the platform would have them."""
        shutil.copytree(self.source, self.job_folder, ignore=shutil.ignore_patterns("rehearsal*"))
        job = self.job
        if self.kill:
            handler = {
                "_target_": "monai_spine.jobs.kill_once.KillOnce",
                **{"mark": str(self.mark), "epoch": _KILL_IN_EPOCH, "rank": _NODES - 1},
            }
            write_text(self.job_folder / "kill.json", json.dumps({"+train#handlers": [handler]}))
            job = dataclasses.replace(job, configs=(*job.configs, "kill.json"))
        write_job(job, self.job_folder)
        if data is not None and self.placement.data is not None:
            stage_subset(data, Path(self.placement.data), studies, int(job.settings.get("fold", "0")))

    @property
    def job_folder(self) -> Path:
        return self.placement.output / "job"

    def run(self, deadline: float) -> None:
        """Start the machines and wait for them."""
        started = time.monotonic()
        machines: list[subprocess.Popen[bytes]] = []
        try:
            for node, own in enumerate(self.environments):
                environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **own}
                with self.log(node).open("wb") as log:
                    command = [sys.executable, "-m", "monai_spine.jobs.entry", str(self.job_folder)]
                    machines.append(
                        subprocess.Popen(
                            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
                        )
                    )
            self._wait(machines, deadline)
        finally:
            _end(machines)
        self.seconds = time.monotonic() - started

    def log(self, node: int) -> Path:
        """The log of a machine."""
        return self.folder / f"machine-{node}.log"

    def _wait(self, machines: Sequence[subprocess.Popen[bytes]], deadline: float) -> None:
        running = True
        while running:
            running = None in [machine.poll() for machine in machines]
            for node, machine in enumerate(machines):
                if machine.returncode:
                    raise RehearsalError(
                        f"machine {node} ended with exit code {machine.returncode}: {_cause(self.log(node))}; "
                        f"the log is {self.log(node)}"
                    )
            if time.monotonic() > deadline:
                raise RehearsalError(
                    f"the rehearsal took longer than --minutes allows; see {self.log(0)}, and make the network smaller "
                    "with --set"
                )
            time.sleep(_POLL_SECONDS)

    def weights(self) -> list[Any]:
        """The trained weights, and those of the run's state with the optimizer's."""
        from monai_spine.weights import load_safely  # imports torch

        folders = [self.platform.placement(self.job, one).checkpoints for one in self.environments]
        (folder, *_) = [one for one in folders if (one / "latest.pt").is_file()]
        return [load_safely(folder / "model.pt"), load_safely(folder / "latest.pt")["parts"]]


def stage_subset(source: Path, target: Path, studies: int, fold: int) -> None:
    """Put a part of a data set into another folder: some entries of its datalist, and links to their files.

    Parameters
    ----------
    studies
        How many entries; at least two of them are of the fold that validates, where there are as many.
    fold
        The fold that validates.
    """
    path = source / "datalist.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = content["training"]
    held_out = [entry for entry in entries if entry.get("fold") == fold]
    others = [entry for entry in entries if entry.get("fold") != fold]
    share = max(2, studies // 4)
    content["training"] = [*held_out[:share], *others[: max(2, studies - share)]]
    content["test"] = []
    for name in {name for entry in content["training"] for name in _texts(entry)}:
        file = source / name
        if name and file.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to(file.resolve())
    write_text(target / path.name, json.dumps(content))


def _several(job: Job) -> tuple[str, ...]:
    config = f"{job.bundle}/configs/multi_gpu_train.json"
    return (*(one for one in job.configs if one != config), config)


def _source(job: Job, data: Path | None) -> Path | None:
    if job.data is None:
        return None
    source = Path(job.data) if data is None else data
    if not (source / "datalist.json").is_file():
        raise MissingInputError(
            f"expected a data set with datalist.json in {source}; name one on this machine with --data"
        )
    return source


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _compared(straight: _Run, killed: _Run, epochs: int) -> Rehearsal:
    if not killed.mark.is_file():
        raise RehearsalError(f"no process was killed: epoch {_KILL_IN_EPOCH} never began; see {killed.log(1)}")
    log = "".join(killed.log(node).read_text(encoding="utf-8", errors="replace") for node in range(_NODES))
    _, marker, rest = log.partition("resumed after epoch ")
    if not marker:
        raise RehearsalError(f"the training did not resume after the kill; see {killed.log(0)}")
    if not _equal(straight.weights(), killed.weights()):
        raise RehearsalError(f"the weights differ from those of the undisturbed run; see {straight.folder.parent}")
    about = killed.mark.read_text(encoding="utf-8")
    seconds = (straight.seconds, killed.seconds)
    return Rehearsal(OFFERS[straight.job.platform].title, epochs, about, int(rest.split()[0]), seconds)


def _equal(one: Any, other: Any) -> bool:
    """Whether two nested states are the same to the last bit."""
    import torch

    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _cause(log: Path) -> str:
    """The first line of a log that says what went wrong, else the last one."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ") or line.split(":")[0].endswith("Error")]
    return (errors or lines[-1:] or ["the log is empty"])[0].removeprefix("error: ")


def _end(machines: Sequence[subprocess.Popen[bytes]]) -> None:
    for machine in machines:
        if machine.poll() is None:
            machine.terminate()
    for machine in machines:
        try:
            machine.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            machine.kill()
            machine.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
