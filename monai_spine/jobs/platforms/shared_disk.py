"""What the platforms have in common whose machines share a disk and meet at a known address."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from monai_spine.errors import InvalidOptionError
from monai_spine.jobs.description import Job
from monai_spine.jobs.placement import Placement, scratch_folder

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
