"""What every platform has, and what the checks of their specifications share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from monai_spine.errors import InvalidOptionError, InvalidTableError, one_line
from monai_spine.jobs.description import Job
from monai_spine.jobs.placement import Placement, scratch_folder

ENTRY = "monai_spine.jobs.entry"
"""The module that a job runs on each machine."""


class Platform(ABC):
    """A platform that runs jobs.

    Attributes
    ----------
    name
        Its name on the command line, and in `monai_spine.jobs.platform_options`.
    file
        The name of the specification in the job's folder.
    """

    name: str
    file: str

    @abstractmethod
    def specification(self, job: Job) -> str:
        """The text of the specification.

        Raises
        ------
        InvalidOptionError
            If the platform cannot run such a job.
        """

    @abstractmethod
    def check(self, path: Path) -> None:
        """Compare a specification with the vendor's own types.

        Raises
        ------
        InvalidTableError
            If the vendor's types refuse it, or would silently drop a part of it.
        """

    @abstractmethod
    def submission(self, job: Job) -> str:
        """The shell commands that upload a job's folder and submit it; they run in that folder."""

    @abstractmethod
    def placement(self, job: Job, environment: Mapping[str, str]) -> Placement:
        """Where this machine stands, from the variables that the platform sets.

        Raises
        ------
        MissingInputError
            If a variable is missing.
        """

    @abstractmethod
    def rehearsal(self, job: Job, node: int, folder: Path, port: int) -> dict[str, str]:
        """The variables that the platform would set for a machine, with folders of this one.

        Parameters
        ----------
        folder
            Stands for the platform's storage.
        port
            Of the loopback address, where the machines meet.
        """

    def command(self, job: Job, folder: str) -> list[str]:
        """What a container runs: the entry point, in package jobs after the installation of the package."""
        entry = ["python", "-m", ENTRY, folder]
        if job.package is None:
            return entry
        return ["sh", "-c", f"python -m pip install --quiet {folder}/{job.package} && exec {' '.join(entry)}"]


def import_vendor(module: str) -> Any:
    """A vendor's package of the extra ``jobs``.

    Raises
    ------
    InvalidOptionError
        If it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as err:
        if not module.startswith((err.name or "").split(".")[0]):
            raise
        raise InvalidOptionError(f"a check needs {err.name}: pip install 'monai-spine[jobs]'") from err


def read_content(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """A specification as a mapping.

    Raises
    ------
    InvalidTableError
        If it cannot be read as one.
    """
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as err:
        raise InvalidTableError(f"{path} cannot be read: {brief(err)}") from err
    if not isinstance(content, dict):
        raise InvalidTableError(f"{path}: expected a mapping, but found {type(content).__name__}")
    return content


def refuse_dropped(path: Path, written: Any, understood: Any) -> None:
    """Refuse a specification of which the vendor's types kept only a part.

    Parameters
    ----------
    written, understood
        The content of the file, and what the types make of it.

    Raises
    ------
    InvalidTableError
        If a field of the file is missing, or has another value.
    """
    if dropped := list(_differences(written, understood, "")):
        raise InvalidTableError(f"{path}: the platform would not keep {'; '.join(dropped[:3])}")


def brief(error: BaseException) -> str:
    """The message of an error of another library, on one line of a readable length."""
    text = one_line(error)
    return text if len(text) <= 300 else text[:297] + "..."


def _differences(written: Any, understood: Any, place: str) -> Iterator[str]:
    if isinstance(written, dict) and isinstance(understood, dict):
        for name, value in written.items():
            here = f"{place}.{name}" if place else str(name)
            if name not in understood:
                yield f"{here}, which it does not know"
            else:
                yield from _differences(value, understood[name], here)
    elif isinstance(written, list) and isinstance(understood, list) and len(written) == len(understood):
        for n, (one, other) in enumerate(zip(written, understood, strict=True)):
            yield from _differences(one, other, f"{place}[{n}]")
    elif str(written) != str(understood) and not _same_number(written, understood):
        yield f"{place}, which is {written!r} in the file and {understood!r} for the platform"


def _same_number(one: Any, other: Any) -> bool:
    # Protocol buffers write 64-bit integers as texts, and Kubernetes' models read quantities as floats.
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return False


PORT = 29400
"""Where machines meet if the platform names no port: torchrun's own default."""


def require_folder(path: str | None, option: str, platform: str) -> None:
    """Refuse what is not an absolute path, as the job's machines see it.

    Raises
    ------
    InvalidOptionError
        If it is a URL or a relative path.
    """
    if path is not None and not path.startswith("/"):
        raise InvalidOptionError(
            f"{platform}: expected {option} as an absolute path that all machines share, but found {path!r}"
        )


def shared_placement(
    job: Job, environment: Mapping[str, str], *, nodes: str, node: str, host: str, port: str, run: str
) -> Placement:
    """The placement of a machine that shares the output folder with the others.

    Parameters
    ----------
    nodes, node
        The number of machines and this one's, as texts.
    host, port
        Of the first machine.
    """
    output = Path(environment.get("SPINE_OUTPUT", job.output))
    return Placement(
        nodes=int(nodes),
        node=int(node),
        master=f"{host}:{port}",
        run=run,
        data=environment.get("SPINE_DATA", job.data),
        output=output,
        checkpoints=output / "models",
        tensorboard=output / "tensorboard",
        model=output / "model",
        scratch=scratch_folder(environment, run),
    )
