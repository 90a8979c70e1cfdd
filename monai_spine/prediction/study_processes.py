"""Other processes that locate or grade studies: of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any, TypeVar

from monai_spine import __version__
from monai_spine.bundle.on_demand import OnDemand
from monai_spine.errors import InvalidOptionError, MissingInputError, SpineError, listed
from monai_spine.files import PARTIAL, removed_if_refused
from monai_spine.runtime.choice import choose_runtime
from monai_spine.runtime.device import device_type, usable_device

if TYPE_CHECKING:
    from data_prep.process_pool import Pool

Item = TypeVar("Item")
Result = TypeVar("Result")

CPU, GPU = "CPU", "GPU"
"""Tags of Dask workers, their resources: ``dask worker ADDRESS --resources "GPU=1"``."""
OFTEN_ELSEWHERE = ("cuda", "mps")
"""Devices that the workers of a cluster may have, and the machine of the command may not."""
KILLED = "the processes that took it were killed, perhaps for lack of memory"
"""Why a study is given up."""


@dataclass(frozen=True)
class StudyProcesses:
    """Where studies are located or graded.

    Attributes
    ----------
    models
        Opens the models in each process.
    pool
        This process, and others of this machine.
    cluster
        The address of a Dask scheduler, whose workers do everything; None for processes of this machine.
    device
        The device that was asked for. Where workers of a cluster have tags, it chooses among them; see `worker_tag`.
    """

    models: OnDemand
    pool: Pool
    cluster: str | None = None
    device: str | None = None

    @property
    def models_here(self) -> OnDemand:
        """Opens the models in this process, also to describe them where a cluster grades.

        Then they are opened on the processor: this machine may lack the device that the workers have.

        Raises
        ------
        InvalidOptionError
            If the device does not have the runtime or the precision.
        """
        options = dict(self.models.options)
        device = options.get("device")
        if self.cluster is None or device is None or device_type(device) not in OFTEN_ELSEWHERE:
            return self.models
        chosen = choose_runtime(options["runtime"], options["precision"], device_type(device))
        return self.models.replaced(device="cpu", runtime=chosen.runtime.value)

    def run(self, task: Any, studies: Sequence[Any]) -> Iterator[Any]:
        """The task's results as they come, in any order.

        Parameters
        ----------
        task
            A `monai_spine.prediction.study_task.StudyTask` or a `monai_spine.levels.locate.LocateTask`: a dataclass
            with ``out`` and ``models``.
        studies
            Its arguments. Each has ``given_up(reason)``, the study of which nothing can be used; for a cluster also
            ``absolute()``, the same with absolute paths, and ``files``. A study for which processes are killed again
            and again is given up in this way.

        Raises
        ------
        SpineError
            If the scheduler does not answer, or a worker has another version or does not see the folders. What is
            finished stays, and the same command goes on.
        """
        if self.cluster is None:
            task = replace(task, models=self.models)
            yield from self.pool.run(task, studies, lambda study: task(study.given_up(KILLED)))
        else:
            yield from self._on_cluster(self.cluster, task, studies)

    def run_anything(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """The results of any picklable function as they come, in any order; see `run` for the errors."""
        if self.cluster is None:
            yield from self.pool.run(function, items)
        else:
            from data_prep.workers import run

            yield from run(function, items, cluster=self.cluster)

    def check(self, out: Path, studies: Sequence[Any] = ()) -> None:
        """Ask the workers of a cluster for their versions, and whether they see the folders; nothing without one.

        Parameters
        ----------
        out
            The output folder. If it does not exist, it is made meanwhile.
        studies
            Some inputs, as `run` takes them.

        Raises
        ------
        SpineError
            See `check_cluster`.
        """
        if self.cluster is None:
            return
        out, is_new = out.absolute(), not out.exists()
        with removed_if_refused(out), _beacon(out) as beacon:
            files = some_files([study.absolute() for study in studies])
            check_cluster(self.cluster, beacon, self.device, files)
        if is_new:
            with suppress(OSError):  # another run may have begun to write there
                out.rmdir()

    def _on_cluster(self, cluster: str, task: Any, studies: Sequence[Any]) -> Iterator[Any]:
        from data_prep.workers import run

        out = task.out.absolute()
        local, task = (replace(task, out=out, models=own.absolute()) for own in (self.models_here, self.models))
        here = [study.absolute() for study in studies]
        with _beacon(out) as beacon:
            tag = check_cluster(cluster, beacon, self.device, some_files(here))
            yield from run(
                CheckedTask(task, beacon),
                here,
                cluster=cluster,
                resources={tag: 1} if tag else None,
                if_killed=lambda study: local(study.given_up(KILLED)),
            )


@dataclass(frozen=True)
class CheckedTask:
    """A task on a worker that may have joined the cluster after all others were asked.

    Attributes
    ----------
    beacon
        A file in the output folder that only this run made: a worker that does not see it sees another disk.
    version
        Of this package, where the run began.
    """

    task: Any
    beacon: Path
    version: str = __version__

    def __call__(self, study: Any) -> Any:
        """The task's result.

        Raises
        ------
        SpineError
            If this process does not see the output folder, or has another version.
        """
        from monai_spine import __version__ as own

        if own != self.version:
            raise SpineError(f"expected monai_spine {self.version} on every worker, but {gethostname()} has {own}")
        if not self.beacon.is_file():
            raise SpineError(f"{gethostname()} does not see {self.task.out}; every worker needs the same paths")
        return self.task(study)


@contextmanager
def study_processes(
    models: OnDemand, workers: int = 1, cluster: str | None = None, device: str | None = None
) -> Iterator[StudyProcesses]:
    """Begin the other processes, which open the models at once; they end with the block.

    Parameters
    ----------
    workers
        Processes of this machine, with this one; -1 for one for each core. With a cluster there is this one alone.

    Raises
    ------
    InvalidOptionError
        If ``workers`` is 0.
    """
    from data_prep.process_pool import Pool, processes_of

    count = processes_of(workers)
    with Pool(0 if cluster else count - 1, models) as pool:
        try:
            yield StudyProcesses(models, pool, cluster, device)
        finally:
            models.close()


@contextmanager
def _beacon(out: Path) -> Iterator[Path]:
    """A file in the output folder that only this run made."""
    beacon = out / f".run-{secrets.token_hex(8)}{PARTIAL}"  # what a killed run leaves, the next one removes
    out.mkdir(parents=True, exist_ok=True)
    beacon.touch()
    try:
        yield beacon
    finally:
        beacon.unlink(missing_ok=True)


def some_files(studies: Sequence[Any]) -> tuple[Path, ...]:
    """The files of the first and the last study: enough to see whether a disk is mounted."""
    return tuple(dict.fromkeys(file for study in (*studies[:1], *studies[-1:]) for file in study.files))


def check_cluster(address: str, beacon: Path, device: str | None = None, files: Sequence[Path] = ()) -> str | None:
    """Ask every worker for its version of this package, and whether it sees the output folder and some inputs.

    Parameters
    ----------
    beacon
        A file in the output folder.
    files
        Inputs with absolute paths.

    Returns
    -------
        The tag that workers need for the device; None for any worker. See `worker_tag`.

    Raises
    ------
    InvalidOptionError
        If there is no worker, one of them differs or does not see the output folder, none has the tag, or one that
        would get studies does not have the device.
    MissingInputError
        If a worker does not see an input.
    SpineError
        If Dask is not installed or no scheduler answers.
    """
    from data_prep.workers import connect

    with connect(address) as client:
        answers = client.run(_about, [str(path) for path in (beacon, *files)], device, on_error="return")
        workers = client.scheduler_info(n_workers=-1)["workers"]
    if not answers:
        raise InvalidOptionError(
            f"the Dask scheduler at {address} has no workers; start some with: dask worker {address}"
        )
    _check_answers(answers, beacon)
    resources = {worker: about["resources"] for worker, about in workers.items()}
    tag = worker_tag(list(resources.values()), device)
    takes = [worker for worker in answers if tag is None or resources.get(worker, {}).get(tag)]
    lacking = [f"on {worker}, {answers[worker][2]}" for worker in takes if answers[worker][2]]
    if lacking:
        raise InvalidOptionError(
            f"expected the device {device} on every worker that takes studies, but {listed(lacking)}; give those that "
            'have it a tag, such as --resources "GPU=1"'
        )
    return tag


def _check_answers(answers: Mapping[str, Any], beacon: Path) -> None:
    """Refuse workers that fail, have another version, or do not see the files; ``answers`` are those of `_about`."""
    failing = [f"{worker} ({answer})" for worker, answer in answers.items() if isinstance(answer, BaseException)]
    if failing:
        raise InvalidOptionError(
            f"expected monai_spine {__version__} on every worker, but it fails on {listed(failing)}"
        )
    other = [f"{worker} has {version}" for worker, (version, *_) in answers.items() if version != __version__]
    if other:
        raise InvalidOptionError(f"expected monai_spine {__version__} on every worker, but {listed(other)}")
    blind = [worker for worker, (_, unseen, _) in answers.items() if str(beacon) in unseen]
    if blind:
        raise InvalidOptionError(
            f"expected {beacon.parent} on every worker, but {listed(blind)} cannot see it; mount the same folders there"
        )
    blind = [f"{worker} cannot see {unseen[0]}" for worker, (_, unseen, _) in answers.items() if unseen]
    if blind:
        raise MissingInputError(
            f"expected the inputs on every worker, but {listed(blind)}; mount the same folders there"
        )


def worker_tag(resources: Sequence[Mapping[str, float]], device: str | None) -> str | None:
    """The tag of the workers that have a device: ``GPU`` for CUDA, ``CPU`` for the processor; None for any worker.

    Parameters
    ----------
    resources
        Those with which each worker was started. If no worker has one of the two tags, tags do not count.

    Raises
    ------
    InvalidOptionError
        If workers have tags, but none has that of the device.
    """
    tags = {tag for one in resources for tag in (CPU, GPU) if one.get(tag)}
    if device is None or not tags:
        return None
    tag = GPU if device.startswith("cuda") else CPU
    if tag not in tags:
        raise InvalidOptionError(
            f"--device {device} needs workers with the tag {tag}, but the cluster has {listed(sorted(tags))} only; "
            f'start some with: dask worker ADDRESS --resources "{tag}=1"'
        )
    return tag


def _about(files: Sequence[str], device: str | None = None) -> tuple[str, list[str], str]:
    """What a worker says about itself: its version, which of the files it does not see, and why it lacks the device."""
    from monai_spine import __version__ as version

    lacks = ""
    try:
        usable_device(device)
    except InvalidOptionError as error:
        lacks = str(error)
    return version, [file for file in files if not Path(file).is_file()], lacks
