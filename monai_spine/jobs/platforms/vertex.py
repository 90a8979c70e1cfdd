"""Vertex AI: a custom job with a pool of one machine, and a pool of the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.jobs.accelerators import ACCELERATORS, machine_with
from monai_spine.jobs.description import Job
from monai_spine.jobs.placement import Placement, required, required_json, scratch_folder
from monai_spine.jobs.platform_options import OFFERS
from monai_spine.jobs.platforms.platform import (
    ENTRY,
    Platform,
    brief,
    import_vendor,
    read_content,
    refuse_dropped,
)
from monai_spine.jobs.storage import GCS, GCS_ROOT, bucket_url, mounted, require_url

_TITLE = OFFERS["vertex"].title
_POOLS = ("workerpool0", "workerpool1")


class Vertex(Platform):
    """Google's Vertex AI. Buckets are mounted at ``/gcs``."""

    name = "vertex"
    file = "vertex.json"

    def specification(self, job: Job) -> str:
        """The body of a request to ``customJobs``."""
        output = require_url(bucket_url(job.output), "gs", "--output", _TITLE)
        if job.data is not None:
            require_url(bucket_url(job.data), "gs", "--data", _TITLE)
        pool = {
            "machineSpec": _machine(job),
            "replicaCount": 1,
            "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": job.disk_gb},
            **self._task(job),
        }
        others = [{**pool, "replicaCount": job.nodes - 1}] if job.nodes > 1 else []
        spec: dict[str, Any] = {
            "workerPoolSpecs": [pool, *others],
            "scheduling": {
                "timeout": f"{job.timeout}s",
                "strategy": "SPOT" if job.spot else "STANDARD",
                "restartJobOnWorkerRestart": True,
            },
            "baseOutputDirectory": {"outputUriPrefix": output},
        }
        if account := job.own.get("service-account"):
            spec["serviceAccount"] = account
        return json.dumps({"displayName": job.name, "jobSpec": spec}, indent=2) + "\n"

    def _task(self, job: Job) -> dict[str, Any]:
        arguments = [mounted(job.folder)]
        if job.package is None:
            command = ["python", "-m", ENTRY]
            return {"containerSpec": {"imageUri": job.image, "command": command, "args": arguments}}
        return {
            "pythonPackageSpec": {
                "executorImageUri": job.image,
                "packageUris": [f"{bucket_url(job.folder)}/{job.package}"],
                "pythonModule": ENTRY,
                "args": arguments,
            }
        }

    def check(self, path: Path) -> None:
        """Compare with ``CustomJob`` of google-cloud-aiplatform."""
        content = read_content(path, json.loads)
        pools = (content.get("jobSpec") or {}).get("workerPoolSpecs") or []
        for n, pool in enumerate(pools):
            # Some versions of the client drop the container without a word, others fail with a page of text.
            if {"containerSpec", "pythonPackageSpec"} <= set(pool):
                raise InvalidTableError(
                    f"{path}: pool {n} has both containerSpec and pythonPackageSpec; keep one of them"
                )
            _check_machine(path, pool.get("machineSpec") or {})
        types = import_vendor("google.cloud.aiplatform_v1.types")
        try:
            job = types.CustomJob.from_json(json.dumps(content))
        except Exception as err:  # protobuf's and proto-plus's own
            raise InvalidTableError(f"{path} is no CustomJob of {_TITLE}: {_cause(err)}") from err
        understood = types.CustomJob.to_json(
            job, use_integers_for_enums=False, always_print_fields_with_no_presence=False
        )
        refuse_dropped(path, content, json.loads(understood))
        if not pools or str(pools[0].get("replicaCount")) != "1":
            raise InvalidTableError(f"{path}: expected a replicaCount of 1 in pool 0, which holds the first machine")

    def submission(self, job: Job) -> str:
        """With gcloud, which has to be logged in."""
        region = job.own["region"]
        return (
            f"gcloud storage cp --recursive . {bucket_url(job.folder)}\n"
            'curl --fail-with-body -X POST -H "Authorization: Bearer $(gcloud auth print-access-token)" \\\n'
            f'  -H "Content-Type: application/json" -d @{self.file} \\\n'
            f'  "https://{region}-aiplatform.googleapis.com/v1/projects/'
            f'$(gcloud config get-value project)/locations/{region}/customJobs"\n'
        )

    def placement(self, job: Job, environment: Mapping[str, str]) -> Placement:
        """From ``CLUSTER_SPEC`` and ``AIP_*``."""
        nodes, node, master = _cluster(required_json(environment, "CLUSTER_SPEC", _TITLE))
        root = environment.get(GCS_ROOT, GCS)

        def folder(name: str) -> Path:
            return Path(mounted(required(environment, name, _TITLE), root))

        model = folder("AIP_MODEL_DIR")
        run = environment.get("CLOUD_ML_JOB_ID", job.name)
        return Placement(
            nodes=nodes,
            node=node,
            master=master,
            run=run,
            data=None if job.data is None else mounted(job.data, root),
            output=model.parent,
            checkpoints=folder("AIP_CHECKPOINT_DIR"),
            tensorboard=folder("AIP_TENSORBOARD_LOG_DIR"),
            model=model,
            scratch=scratch_folder(environment, run),
        )

    def rehearsal(self, job: Job, node: int, folder: Path, port: int) -> dict[str, str]:
        """``/gcs`` is a folder, and each pool's machine is a process on the loopback address."""
        workers = [f"127.0.0.1:{port + n}" for n in range(1, job.nodes)]
        cluster = {"workerpool0": [f"127.0.0.1:{port}"], **({"workerpool1": workers} if workers else {})}
        task = {"type": _POOLS[min(node, 1)], "index": max(node - 1, 0)}
        output = bucket_url(job.output).rstrip("/")
        return {
            GCS_ROOT: str(folder / "gcs"),
            "CLUSTER_SPEC": json.dumps({"cluster": cluster, "environment": "cloud", "task": task}),
            "AIP_MODEL_DIR": f"{output}/model/",
            "AIP_CHECKPOINT_DIR": f"{output}/checkpoints/",
            "AIP_TENSORBOARD_LOG_DIR": f"{output}/logs/",
        }


def _machine(job: Job) -> dict[str, Any]:
    if job.accelerator is None:
        return {"machineType": job.machine or "n2-standard-8"}
    accelerator = ACCELERATORS[job.accelerator]
    machine = job.machine or machine_with(accelerator.vertex_machines, job.accelerator, job.accelerators, _TITLE)
    return {"machineType": machine, "acceleratorType": accelerator.vertex, "acceleratorCount": job.accelerators}


def _check_machine(path: Path, machine: Mapping[str, Any]) -> None:
    """Refuse an accelerator on a machine that our table does not have for it: the vendor's types know no pairs."""
    name, count = machine.get("acceleratorType"), int(machine.get("acceleratorCount") or 0)
    if name is None and count:
        raise InvalidTableError(f"{path}: {count} accelerators without an acceleratorType")
    for accelerator in ACCELERATORS.values():
        family = {one.rpartition("-")[0].split("-")[0] for one in accelerator.vertex_machines.values()}
        if accelerator.vertex == name and str(machine.get("machineType")).split("-")[0] not in family:
            raise InvalidTableError(
                f"{path}: a machine {machine.get('machineType')!r} cannot have {name}; "
                f"expected one of {', '.join(accelerator.vertex_machines.values())}"
            )


def _cluster(content: object) -> tuple[int, int, str]:
    """The number of machines, this one's number, and host and port of the first one, from ``CLUSTER_SPEC``."""
    try:
        cluster, task = content["cluster"], content["task"]  # type: ignore[index]
        pools = [cluster.get(name, []) for name in _POOLS]
        node = _POOLS.index(task["type"]) * len(pools[0]) + int(task["index"])
        return len(pools[0]) + len(pools[1]), node, pools[0][0]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as err:
        raise MissingInputError(
            f"expected CLUSTER_SPEC with the pools {' and '.join(_POOLS)} and this machine's task, "
            f"but found {json.dumps(content)[:200]}"
        ) from err


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:  # each level of the message repeats the one below
        error = error.__cause__
    return brief(error)
