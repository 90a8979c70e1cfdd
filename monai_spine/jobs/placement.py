"""Where one machine of a running job stands: its number among the others, and where data and results lie."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monai_spine.errors import MissingInputError
from monai_spine.files import safe_name


@dataclass(frozen=True)
class Placement:
    """What a platform's environment variables say.

    Attributes
    ----------
    nodes, node
        The number of machines, and this one's number from 0.
    master
        Host and port of machine 0, where the machines meet.
    run
        A name that all machines of this run share.
    data
        The data set: a path or a URL; None for a bundle that draws its images.
    output
        The folder of the results: the bundle's ``bundle_root``.
    checkpoints
        The folder of the weights and of the state to resume from.
    tensorboard
        The folder of TensorBoard's log.
    model
        Where the platform takes the trained model from.
    scratch
        A folder on the machine's own disk.
    copies_data
        Whether the data are on a mounted bucket or a shared disk, and are copied to the scratch folder first.
    shares_output
        Whether all machines see the same folder of checkpoints.
    """

    nodes: int
    node: int
    master: str
    run: str
    data: str | None
    output: Path
    checkpoints: Path
    tensorboard: Path
    model: Path
    scratch: Path
    copies_data: bool = True
    shares_output: bool = True


def scratch_folder(environment: Mapping[str, str], run: str) -> Path:
    """The folder of a run on the machine's own disk: that of ``SPINE_SCRATCH``, else one of this user and this run."""
    if own := environment.get("SPINE_SCRATCH"):
        return Path(own)
    return Path(tempfile.gettempdir()) / f"monai-spine-{os.getuid()}-{safe_name(run)}"


def required(environment: Mapping[str, str], name: str, platform: str) -> str:
    """A variable that a platform sets.

    Raises
    ------
    MissingInputError
        If it is not set, which means that the process does not run there.
    """
    if not environment.get(name):
        raise MissingInputError(f"expected the environment variable {name}, which {platform} sets for a job's machines")
    return environment[name]


def required_json(environment: Mapping[str, str], name: str, platform: str) -> object:
    """The content of a variable that holds JSON; errors as those of `required`."""
    text = required(environment, name, platform)
    try:
        return json.loads(text)
    except ValueError as err:
        raise MissingInputError(f"expected JSON in the environment variable {name}, but found {text[:80]!r}") from err
