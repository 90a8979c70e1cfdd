"""What a job runs on each machine: ``python -m monai_spine.jobs.entry JOB_FOLDER``.

It reads from the platform's variables where the machine stands, copies the data to its own disk, and runs the training
in one process for each GPU under torchrun. After the training, the trained bundle lies where the platform takes it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from monai_spine.bundle.run import logging_setting
from monai_spine.errors import ExitCode, InvalidOptionError, SpineError, counted, exit_code
from monai_spine.files import PARTIAL, whole_file, write_text
from monai_spine.jobs.description import Job, read_job
from monai_spine.jobs.placement import Placement
from monai_spine.jobs.platforms import PLATFORMS
from monai_spine.jobs.storage import copy_to_disk

_JOIN_SECONDS = 1800
"""How long the first machine waits for the others, which may be given later."""


def run_job(folder: Path, environment: Mapping[str, str]) -> int:
    """Run this machine's part of a job; the exit code.

    Parameters
    ----------
    folder
        The job's folder.
    environment
        The platform's variables.

    Raises
    ------
    SpineError
        If the folder, the variables or the data cannot be used.
    """
    job = read_job(folder)
    placement = PLATFORMS[job.platform].placement(job, environment)
    if placement.nodes != job.nodes:
        raise InvalidOptionError(
            f"{folder} is a job for {counted(job.nodes, 'machine')}, but the platform has {placement.nodes}"
        )
    _say(f"machine {placement.node} of {placement.nodes}, results in {placement.output}")
    data = placement.data
    if data is not None and placement.copies_data:
        _say(f"copies {data} to {placement.scratch}")
        data = str(copy_to_disk(data, placement.scratch / "data"))
    code = _torchrun(launch_arguments(job, placement), training_arguments(job, folder.resolve(), placement, data))
    weights = placement.checkpoints / "model.pt"
    if code == 0 and weights.is_file() and (placement.node == 0 or not placement.shares_output):
        _say(f"the trained bundle is {export_bundle(job, folder, weights, placement.model)}")
    return code


def launch_arguments(job: Job, placement: Placement) -> list[str]:
    """The arguments of torchrun."""
    arguments = [f"--nproc-per-node={job.processes}", f"--max-restarts={job.max_restarts}"]
    if placement.nodes == 1:
        return ["--standalone", *arguments]
    # torchrun compares host names to find who holds the store, which fails in containers, so that it is said here.
    host = f"is_host={int(placement.node == 0)},join_timeout={_JOIN_SECONDS}"
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={placement.master}", f"--rdzv-id={placement.run}"]
    if address := _own_address(placement.master.partition(":")[0]):
        meeting.append(f"--local-addr={address}")  # else others would have to resolve this machine's host name
    return [f"--nnodes={placement.nodes}", *meeting, f"--rdzv-conf={host}", *arguments]


def training_arguments(job: Job, folder: Path, placement: Placement, data: str | None) -> list[str]:
    """The arguments of ``monai.bundle run``: the platform's folders for those of the bundle.

    Parameters
    ----------
    data
        The folder of the data on this machine.
    """
    bundle = folder / job.bundle
    entries = json.loads((bundle / "configs" / "train.json").read_text(encoding="utf-8"))
    settings = {
        "bundle_root": str(placement.output),
        **({"dataset_dir": data} if data is not None else {}),
        "ckpt_dir": str(placement.checkpoints),
        # Caches are memory maps, which a mounted bucket cannot serve.
        **({"cache_dir": str(placement.scratch / "cache")} if "cache_dir" in entries else {}),
        "training_run#tensorboard#folder": str(placement.tensorboard),
        **dict(logging_setting(bundle)),
        "resume": "auto",
        **job.settings,
    }
    files = str([str(folder / name) for name in job.configs])
    # MONAI leaves out options that are None
    options = [
        word for name, value in settings.items() for word in (f"--{name}", "$None" if value == "None" else value)
    ]
    return ["-m", "monai.bundle", "run", "training", "--config_file", files, *options]


def export_bundle(job: Job, folder: Path, weights: Path, model: Path) -> Path:
    """Copy the bundle with its trained weights to where the platform takes models from; that bundle."""
    target = model / job.bundle
    ignored = shutil.ignore_patterns("models", f"*{PARTIAL}")
    shutil.copytree(folder / job.bundle, target, ignore=ignored, dirs_exist_ok=True)
    with whole_file(target / "models" / "model.pt") as partial:
        shutil.copyfile(weights, partial)
    metadata = target / "configs" / "metadata.json"
    if metadata.is_file():
        content = json.loads(metadata.read_text(encoding="utf-8"))
        content.pop("trained_on", None)  # it was said of the earlier weights
        if job.trained_on:
            content["trained_on"] = job.trained_on
        write_text(metadata, json.dumps(content, indent=4) + "\n")
    return target


def _own_address(master: str) -> str | None:
    """This machine's address in the network of another one; None if that is not known."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect((master, 9))  # sends nothing: it only chooses the route
        except OSError:
            return None
        return str(one.getsockname()[0])


def _torchrun(launch: list[str], training: list[str]) -> int:
    """Run the training under torchrun in this process; its exit code, see `ExitCode`."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    # Else the processes of all attempts share the store of torchrun, and after a restart on several machines read the
    # addresses of those that were killed: "Gloo connectFullMesh failed … Connection refused" (torch 2.15).
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    try:
        run(parse_args([*launch, *training]))
    except ChildFailedError as err:
        rank, failure = err.get_first_failure()
        sys.stderr.write(f"error: the training's process {rank} ended with exit code {failure.exitcode}\n")
        passed_on = (ExitCode.BAD_INPUT, ExitCode.TRY_AGAIN)
        return failure.exitcode if failure.exitcode in passed_on else ExitCode.OUR_FAULT
    except SignalException as err:
        sys.stderr.write(
            f"ended by signal {err.sigval.name}; the training goes on from its last epoch when run again\n"
        )
        return 128 + err.sigval
    return ExitCode.DONE


def _say(line: str) -> None:
    sys.stderr.write(f"monai_spine job: {line}\n")


def main() -> None:
    """Entry point of a job's machines; the exit code says whether a restart can help, see `ExitCode`."""
    try:
        if len(sys.argv) != 2:
            raise InvalidOptionError("expected one argument, the job's folder: python -m monai_spine.jobs.entry FOLDER")
        sys.exit(run_job(Path(sys.argv[1]), os.environ))
    except SpineError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
