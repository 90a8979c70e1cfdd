"""Kubernetes with Kubeflow Trainer 2: a TrainJob on the runtime ``torch-distributed``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from monai_spine.errors import InvalidTableError
from monai_spine.jobs.description import Job
from monai_spine.jobs.placement import Placement, required
from monai_spine.jobs.platform_options import OFFERS
from monai_spine.jobs.platforms.platform import (
    PORT,
    Platform,
    brief,
    import_vendor,
    read_content,
    refuse_dropped,
    require_folder,
    shared_placement,
)

_TITLE = OFFERS["kubernetes"].title
_API = "trainer.kubeflow.org/v1alpha1"
_NODE = "node"
"""The name of the job and of its container in the runtime ``torch-distributed``."""


class Kubernetes(Platform):
    """A cluster with Kubeflow Trainer; a volume that several pods can write holds data and results."""

    name = "kubernetes"
    file = "kubernetes.yaml"

    def specification(self, job: Job) -> str:
        """A ``TrainJob``."""
        for path, option in ((job.output, "--output"), (job.data, "--data")):
            require_folder(path, option, _TITLE)
        resources: dict[str, Any] = {"ephemeral-storage": f"{job.disk_gb}Gi"}
        if job.accelerators:
            resources["nvidia.com/gpu"] = job.accelerators
        spec = {
            "runtimeRef": {"name": job.own.get("runtime", "torch-distributed")},
            "activeDeadlineSeconds": job.timeout,
            "trainer": {
                "image": job.image,
                "command": self.command(job, job.folder),
                "numNodes": job.nodes,
                "numProcPerNode": job.processes,
                "resourcesPerNode": {"limits": resources, "requests": dict(resources)},
            },
            "runtimePatches": [_patch(job)],
        }
        about = {"name": job.name, "namespace": job.own.get("namespace", "default")}
        content = {"apiVersion": _API, "kind": "TrainJob", "metadata": about, "spec": spec}
        return yaml.safe_dump(content, sort_keys=False)

    def check(self, path: Path) -> None:
        """Compare with ``TrainJob`` of kubeflow-trainer-api, which itself drops what it does not know."""
        content = read_content(path, yaml.safe_load)
        if (content.get("apiVersion"), content.get("kind")) != (_API, "TrainJob"):
            raise InvalidTableError(f"{path}: expected a TrainJob of {_API}, but found {content.get('kind')!r}")
        job = import_vendor("kubeflow_trainer_api.models").TrainerV1alpha1TrainJob
        try:
            understood = job.from_dict(content).to_dict()
        except ValueError as err:
            raise InvalidTableError(f"{path} is no TrainJob: {brief(err)}") from err
        refuse_dropped(path, content, understood)

    def submission(self, job: Job) -> str:
        """With kubectl; a pod that mounts the claim has to receive the folder."""
        namespace = job.own.get("namespace", "default")
        return (
            "# POD is any running pod that mounts the claim.\n"
            f"kubectl --namespace {namespace} cp . POD:{job.folder}\n"
            f"kubectl apply -f {self.file}\n"
        )

    def placement(self, job: Job, environment: Mapping[str, str]) -> Placement:
        """From the variables for torchrun that Kubeflow Trainer sets."""
        return shared_placement(
            job,
            environment,
            nodes=required(environment, "PET_NNODES", "Kubeflow Trainer"),
            node=required(environment, "PET_NODE_RANK", "Kubeflow Trainer"),
            host=required(environment, "PET_MASTER_ADDR", "Kubeflow Trainer"),
            port=environment.get("PET_MASTER_PORT", str(PORT)),
            run=job.name,
        )

    def rehearsal(self, job: Job, node: int, folder: Path, port: int) -> dict[str, str]:
        """The claim is a folder."""
        return {
            "PET_NNODES": str(job.nodes),
            "PET_NODE_RANK": str(node),
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(port),
            "SPINE_OUTPUT": str(folder / "claim"),
            "SPINE_DATA": str(folder / "data"),
        }


def _patch(job: Job) -> dict[str, Any]:
    """What the runtime's pods get besides: the claim, memory for data loaders, and the choice of spot machines."""
    mounts = [
        {"name": "spine", "mountPath": job.own.get("mount", "/mnt/spine")},
        # The default of 64 MB is too small for workers of data loaders.
        {"name": "memory", "mountPath": "/dev/shm"},
    ]
    pod: dict[str, Any] = {
        "containers": [{"name": _NODE, "volumeMounts": mounts}],
        "volumes": [
            {"name": "spine", "persistentVolumeClaim": {"claimName": job.own["claim"]}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    if job.spot:
        key, _, value = job.own.get("spot-label", "cloud.google.com/gke-spot=true").partition("=")
        pod["nodeSelector"] = {key: value}
        pod["tolerations"] = [{"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}]
    replicated = {"name": _NODE, "template": {"spec": {"template": {"spec": pod}}}}
    return {
        "manager": "monai-spine.job/write",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [replicated]}}},
    }
