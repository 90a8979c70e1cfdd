"""Azure Machine Learning: a command job with PyTorch's distribution."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from monai_spine.errors import InvalidOptionError, InvalidTableError
from monai_spine.jobs.accelerators import ACCELERATORS, machine_with
from monai_spine.jobs.description import Job
from monai_spine.jobs.placement import Placement, required
from monai_spine.jobs.platform_options import OFFERS
from monai_spine.jobs.platforms.platform import PORT, Platform, brief, import_vendor, read_content, shared_placement

_TITLE = OFFERS["azureml"].title
_STORES = ("azureml:", "azureml://", "https://", "wasbs://", "abfss://")


class AzureML(Platform):
    """Azure Machine Learning. The job's folder is its code; data and results are mounted."""

    name = "azureml"
    file = "azureml.yaml"

    def specification(self, job: Job) -> str:
        """A command job."""
        for url, option in ((job.output, "--output"), (job.data, "--data")):
            if url is not None and not url.startswith(_STORES):
                raise InvalidOptionError(
                    f"{_TITLE}: expected {option} as azureml://datastores/NAME/paths/FOLDER, but found {url!r}"
                )
        compute = job.own.get("compute")
        if job.spot and compute:
            raise InvalidOptionError(f"{_TITLE}: a compute cluster has its own priority; leave out --spot or --compute")
        resources: dict[str, Any] = {"instance_count": job.nodes, "shm_size": "16g"}
        if not compute:
            resources["instance_type"] = _machine(job)
        inputs = {"data": {"type": "uri_folder", "path": job.data, "mode": "ro_mount"}} if job.data else {}
        content: dict[str, Any] = {
            "$schema": "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json",
            "type": "command",
            "display_name": job.name,
            "experiment_name": job.name,
            "code": ".",
            "command": self._line(job),
            "environment": {"image": job.image},
            **({"inputs": inputs} if inputs else {}),
            "outputs": {"run": {"type": "uri_folder", "path": job.output, "mode": "rw_mount"}},
            # One process a machine: the entry point, which starts those of the GPUs.
            "distribution": {"type": "pytorch", "process_count_per_instance": 1},
            "resources": resources,
            "limits": {"timeout": job.timeout},
            **({"compute": f"azureml:{compute}"} if compute else {}),
            **({} if compute else {"queue_settings": {"job_tier": "spot" if job.spot else "standard"}}),
        }
        return yaml.safe_dump(content, sort_keys=False)

    def _line(self, job: Job) -> str:
        # The platform puts the mounted folders in place of ${{…}}; it sets no variables for them.
        folders = [*(["SPINE_DATA=${{inputs.data}}"] if job.data else []), "SPINE_OUTPUT=${{outputs.run}}"]
        command = self.command(job, ".")
        return f"export {' '.join(folders)} && {command[-1] if job.package else ' '.join(command)}"

    def check(self, path: Path) -> None:
        """Compare with the schema of azure-ai-ml."""
        content = read_content(path, yaml.safe_load)
        if not isinstance(content.get("environment"), dict) or "image" not in content["environment"]:
            raise InvalidTableError(f"{path}: expected an environment with an image")
        load_job = import_vendor("azure.ai.ml").load_job
        with contextlib.redirect_stderr(io.StringIO()):  # for remarks about fields that may still change
            try:
                load_job(path)
            except Exception as err:  # marshmallow's and azure's own
                raise InvalidTableError(f"{path} is no command job of {_TITLE}: {_fault(err)}") from err

    def submission(self, job: Job) -> str:
        """With Azure's command line and its extension ml."""
        where = f"--workspace-name {job.own['workspace']} --resource-group {job.own['resource-group']}"
        return f"az ml job create --file {self.file} {where}\n"

    def placement(self, job: Job, environment: Mapping[str, str]) -> Placement:
        """From the variables of PyTorch's distribution, and the folders that the command exports."""
        return shared_placement(
            job,
            environment,
            nodes=required(environment, "WORLD_SIZE", _TITLE),
            node=environment.get("NODE_RANK") or required(environment, "RANK", _TITLE),
            host=required(environment, "MASTER_ADDR", _TITLE),
            port=environment.get("MASTER_PORT", str(PORT)),
            run=environment.get("AZUREML_RUN_ID", job.name),
        )

    def rehearsal(self, job: Job, node: int, folder: Path, port: int) -> dict[str, str]:
        """Both mounts are folders."""
        return {
            "AZUREML_RUN_ID": "rehearsal",
            "WORLD_SIZE": str(job.nodes),
            "RANK": str(node),
            "NODE_RANK": str(node),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "SPINE_OUTPUT": str(folder / "output"),
            "SPINE_DATA": str(folder / "data"),
        }


def _machine(job: Job) -> str:
    if job.machine or job.accelerator is None:
        return job.machine or "Standard_D8s_v5"
    return machine_with(ACCELERATORS[job.accelerator].azure_machines, job.accelerator, job.accelerators, _TITLE)


def _fault(error: Exception) -> str:
    """The schema's complaint out of a page of advice."""
    text = brief(Exception(str(error).replace("\\n", " ").replace('\\"', '"')))
    _, mark, fault = text.partition('"message": "')
    return (fault or text) if mark else text
