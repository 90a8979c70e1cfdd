"""A job: which training runs with which settings, on what machines. ``job.json`` of a job's folder holds it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.files import write_text

SCHEMA = "monai_spine/job/1"
JOB_FILE = "job.json"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

DISK_GB = 200
"""Of a machine's own disk, where nobody asks for another size."""


@dataclass(frozen=True)
class Job:
    """A training as a job.

    Attributes
    ----------
    platform
        The name of a module in `monai_spine.jobs.platforms`.
    name
        Of the job: lower-case letters, digits and hyphens.
    bundle
        The name of the bundle, which lies in the job's folder.
    configs
        Configuration files of the training, relative to the job's folder; later ones override earlier ones.
    data
        The folder with ``datalist.json``, as the platform's machines see it: a path or a URL. None for a bundle that
        draws its images.
    output
        The folder for the results, as a path or a URL of the platform. The job's folder is expected at its ``job``.
    settings
        Entries of the bundle's configuration, as texts by name.
    nodes
        The number of machines.
    accelerator, accelerators
        The type of the GPUs, and their number in each machine; None and 0 for processors only.
    machine
        The platform's name of a machine; None for the one that our table has for the accelerator.
    spot
        Whether the machines may be taken away at any time, for a lower price.
    timeout
        Seconds after which the platform ends the job.
    max_restarts
        How often processes are started again after one of them failed.
    disk_gb
        Of each machine's own disk, which the data are copied to.
    image
        A container image that has this package; with ``package``, one that has Python.
    package
        A wheel or source archive of this package, in the job's folder, that each machine installs; None for none.
    trained_on
        What the weights will have learnt from, for the provenance of the trained bundle; None if not said.
    own
        What only this platform knows, by the names of its options.
    """

    platform: str
    name: str
    bundle: str
    configs: tuple[str, ...]
    data: str | None
    output: str
    settings: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 1
    accelerator: str | None = None
    accelerators: int = 0
    machine: str | None = None
    spot: bool = False
    timeout: int = 86400
    max_restarts: int = 3
    disk_gb: int = DISK_GB
    image: str | None = None
    package: str | None = None
    trained_on: str | None = None
    own: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidOptionError(
                f"expected the job's name as up to 50 lower-case letters, digits and hyphens, but found {self.name!r}"
            )
        for option, value, least in (("nodes", self.nodes, 1), ("max-restarts", self.max_restarts, 0)):
            if value < least:
                raise InvalidOptionError(f"expected --{option} of at least {least}, but found {value}")

    @property
    def processes(self) -> int:
        """Training processes on each machine: one for each GPU."""
        return max(1, self.accelerators)

    @property
    def folder(self) -> str:
        """Where the platform's machines find the job's folder."""
        return f"{self.output.rstrip('/')}/job"


def write_job(job: Job, folder: Path) -> None:
    """Write ``job.json``."""
    content = {"schema": SCHEMA, **dataclasses.asdict(job)}
    write_text(folder / JOB_FILE, json.dumps(content, indent=2) + "\n")


def read_job(folder: Path) -> Job:
    """The job of a folder.

    Raises
    ------
    MissingInputError
        If the folder has no ``job.json``.
    InvalidTableError
        If the file is of another schema, or lacks something.
    """
    path = folder / JOB_FILE
    if not path.is_file():
        raise MissingInputError(f"expected {path}, which monai-spine job writes")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("schema") != SCHEMA:
            raise InvalidTableError(f"{path}: expected the schema {SCHEMA}; write the job again with this version")
        return Job(**{**content, "configs": tuple(content["configs"])})
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise InvalidTableError(f"{path} is not a job of {SCHEMA}: {err}; write it again with monai-spine job") from err


def parse_duration(text: str) -> int:
    """Seconds, from ``90m``, ``12h``, ``2d`` or a number of seconds.

    Raises
    ------
    InvalidOptionError
        If the text is something else, or less than a minute.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = round(float(match[1]) * _SECONDS[match[2]]) if match else 0
    if seconds < 60:
        raise InvalidOptionError(f"expected --timeout as 90m, 12h or 2d, at least a minute, but found {text!r}")
    return seconds
