"""Slurm: a batch script that starts the entry point on every machine."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from monai_spine.errors import InvalidOptionError, InvalidTableError
from monai_spine.jobs.accelerators import ACCELERATORS
from monai_spine.jobs.description import DISK_GB, Job
from monai_spine.jobs.placement import Placement, required
from monai_spine.jobs.platform_options import OFFERS
from monai_spine.jobs.platforms.platform import ENTRY, PORT, Platform, import_vendor, require_folder, shared_placement

_TITLE = OFFERS["slurm"].title
_DIRECTIVE = re.compile(r"^#SBATCH\s+--([a-z-]+)(?:[= ](.*))?$")


class Slurm(Platform):
    """A cluster with Slurm and a shared disk."""

    name = "slurm"
    file = "slurm.sh"

    def specification(self, job: Job) -> str:
        """A script for ``sbatch``."""
        if job.package:
            raise InvalidOptionError(f"{_TITLE}: install the package on the shared disk and name it with --python")
        # Slurm has neither: which machines a job gets, with which disks, is a matter of its partitions and qos.
        for asked, option in ((job.spot, "--spot"), (job.disk_gb != DISK_GB, "--disk-gb")):
            if asked:
                raise InvalidOptionError(f"{_TITLE} has no {option}; choose machines with --partition or --qos instead")
        for path, option in ((job.output, "--output"), (job.data, "--data")):
            require_folder(path, option, _TITLE)
        days, seconds = divmod(job.timeout, 86400)
        hours, minutes = divmod(-(-seconds // 60), 60)
        options = {
            "job-name": job.name,
            "nodes": str(job.nodes),
            "ntasks-per-node": "1",
            "cpus-per-task": job.own.get("cpus", "8"),
            "time": f"{days}-{hours:02}:{minutes:02}:00",
            "output": f"{job.output}/slurm-%j.log",
            "open-mode": "append",
            # A machine that fails, or is preempted, puts the job back into the queue; it then resumes.
            "requeue": None,
            "signal": "B:TERM@60",
            **{name: job.own[name] for name in ("partition", "account", "qos") if name in job.own},
        }
        if job.accelerator:
            options["gpus-per-node"] = f"{ACCELERATORS[job.accelerator].slurm}:{job.accelerators}"
        directives = [
            f"#SBATCH --{name}" + (f"={value}" if value is not None else "") for name, value in options.items()
        ]
        python = job.own.get("python", "python")
        if job.image:
            container = shlex.join(
                ["apptainer", "exec", *(["--nv"] if job.accelerator else []), f"docker://{job.image}"]
            )
            python = f"{container} python"
        command = f"srun --kill-on-bad-exit=1 {python} -m {ENTRY} {shlex.quote(job.folder)} &"
        return "\n".join(["#!/bin/bash", *directives, "", *_MEETING, command, *_WAITING, ""])

    def check(self, path: Path) -> None:
        """Ask bash about the script, and simple-slurm about the options; Slurm itself has no types in a package."""
        text = path.read_text(encoding="utf-8")
        parsed = subprocess.run(
            ["bash", "-n", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if parsed.returncode:
            raise InvalidTableError(f"{path} is no shell script: {parsed.stderr.strip().splitlines()[0]}")
        known = {
            names[0].replace("_", "-") for names in import_vendor("simple_slurm.core").read_simple_txt("arguments.txt")
        }
        directives = [_DIRECTIVE.match(line) for line in text.splitlines() if line.startswith("#SBATCH")]
        unknown = [match[1] if match else "?" for match in directives if match is None or match[1] not in known]
        if unknown or not directives:
            raise InvalidTableError(f"{path}: sbatch has no option {', '.join(unknown) or 'in this file'}")

    def submission(self, job: Job) -> str:
        """Commands that copy the job to the cluster's disk and hand it to sbatch."""
        return f"mkdir -p {shlex.quote(job.folder)} && cp -r . {shlex.quote(job.folder)}\nsbatch {self.file}\n"

    def placement(self, job: Job, environment: Mapping[str, str]) -> Placement:
        """From ``SLURM_*``, and from the address of the first machine that the script exports."""
        own_disk = {"SPINE_SCRATCH": environment["SLURM_TMPDIR"]} if environment.get("SLURM_TMPDIR") else {}
        return shared_placement(
            job,
            {**own_disk, **environment},
            nodes=required(environment, "SLURM_NNODES", _TITLE),
            node=required(environment, "SLURM_NODEID", _TITLE),
            host=required(environment, "MASTER_ADDR", "the job's script"),
            port=environment.get("MASTER_PORT", str(PORT)),
            run=f"slurm-{environment.get('SLURM_JOB_ID', job.name)}",
        )

    def rehearsal(self, job: Job, node: int, folder: Path, port: int) -> dict[str, str]:
        """The shared disk is a folder."""
        return {
            "SLURM_JOB_ID": "1",
            "SLURM_NNODES": str(job.nodes),
            "SLURM_NODEID": str(node),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "SPINE_OUTPUT": str(folder / "output"),
            "SPINE_DATA": str(folder / "data"),
        }


_MEETING = (
    "set -euo pipefail",
    'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
    f"MASTER_PORT=$(({PORT} + SLURM_JOB_ID % 1000))  # jobs may share a machine",
    "export MASTER_ADDR MASTER_PORT",
)
_WAITING = (
    "step=$!",
    "# Slurm warns this shell a minute before it takes the machines; the step gets the warning too, and may end.",
    "trap 'kill -TERM \"$step\"' TERM",
    'wait "$step" || wait "$step"',
)
