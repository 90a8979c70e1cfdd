"""Amazon SageMaker: a training job."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.jobs.accelerators import ACCELERATORS, machine_with
from monai_spine.jobs.description import Job
from monai_spine.jobs.placement import Placement, required_json, scratch_folder
from monai_spine.jobs.platform_options import OFFERS
from monai_spine.jobs.platforms.platform import PORT, Platform, import_vendor, read_content
from monai_spine.jobs.storage import require_url

_TITLE = OFFERS["sagemaker"].title
_ML = "/opt/ml"
_MOST_RETRIES = 30


class SageMaker(Platform):
    """Amazon SageMaker. It copies the data to each machine, and what is written to ``/opt/ml/checkpoints`` to S3."""

    name = "sagemaker"
    file = "sagemaker.json"

    def specification(self, job: Job) -> str:
        """The request of ``CreateTrainingJob``."""
        output = require_url(job.output, "s3", "--output", _TITLE)
        channels = [_channel("job", f"{output}/job")]
        if job.data is not None:
            channels.append(_channel("training", require_url(job.data, "s3", "--data", _TITLE)))
        stopping = {"MaxRuntimeInSeconds": job.timeout}
        if job.spot:
            # Waiting for spot machines counts too; the vendor asks for at least the run time.
            stopping["MaxWaitTimeInSeconds"] = 2 * job.timeout
        entry, *arguments = self.command(job, f"{_ML}/input/data/job")
        request = {
            "TrainingJobName": job.name,
            "RoleArn": job.own["role"],
            "AlgorithmSpecification": {
                "TrainingImage": job.image,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": [entry],
                "ContainerArguments": arguments,
            },
            "InputDataConfig": channels,
            "OutputDataConfig": {"S3OutputPath": f"{output}/output"},
            "CheckpointConfig": {"S3Uri": f"{output}/checkpoints", "LocalPath": f"{_ML}/checkpoints"},
            "TensorBoardOutputConfig": {"S3OutputPath": f"{output}/tensorboard", "LocalPath": _tensorboard(_ML)},
            "ResourceConfig": {
                "InstanceType": _machine(job),
                "InstanceCount": job.nodes,
                "VolumeSizeInGB": job.disk_gb,
            },
            "StoppingCondition": stopping,
            "EnableManagedSpotTraining": job.spot,
        }
        if job.max_restarts:
            request["RetryStrategy"] = {"MaximumRetryAttempts": min(job.max_restarts, _MOST_RETRIES)}
        return json.dumps(request, indent=2) + "\n"

    def check(self, path: Path) -> None:
        """Compare with the request's shape in botocore's model of the service."""
        content = read_content(path, json.loads)
        validate = import_vendor("botocore.validate")
        session = import_vendor("botocore.session").Session()
        shape = session.get_service_model("sagemaker").operation_model("CreateTrainingJob").input_shape
        report = validate.ParamValidator().validate(content, shape)
        faults = report.generate_report().splitlines() if report.has_errors() else list(_faults(content, shape, ""))
        if faults:
            raise InvalidTableError(f"{path} is no CreateTrainingJob request: {'; '.join(faults[:3])}")
        image = content.get("AlgorithmSpecification") or {}
        if {"TrainingImage", "AlgorithmName"} <= set(image):
            raise InvalidTableError(f"{path}: has both TrainingImage and AlgorithmName; keep one of them")

    def submission(self, job: Job) -> str:
        """With the AWS command line."""
        return f"aws s3 sync . {job.folder}\naws sagemaker create-training-job --cli-input-json file://{self.file}\n"

    def placement(self, job: Job, environment: Mapping[str, str]) -> Placement:
        """From ``SM_*``, or from the file that SageMaker writes for images without its toolkit."""
        root = Path(environment.get("SPINE_ML_ROOT", _ML))
        hosts, current = _hosts(environment, root)
        channel = environment.get("SM_CHANNEL_TRAINING", str(root / "input/data/training"))
        checkpoints = root / "checkpoints"
        run = environment.get("TRAINING_JOB_NAME", job.name)
        return Placement(
            nodes=len(hosts),
            node=hosts.index(current),
            master=f"{environment.get('SPINE_MASTER', f'{hosts[0]}:{PORT}')}",
            run=run,
            data=None if job.data is None else channel,
            output=checkpoints,
            checkpoints=checkpoints,
            tensorboard=Path(_tensorboard(str(root))),
            model=Path(environment.get("SM_MODEL_DIR", str(root / "model"))),
            scratch=scratch_folder(environment, run),
            copies_data=False,  # the platform did
            shares_output=False,
        )

    def rehearsal(self, job: Job, node: int, folder: Path, port: int) -> dict[str, str]:
        """Each machine has a folder for ``/opt/ml``."""
        hosts = [f"algo-{n + 1}" for n in range(job.nodes)]
        return {
            "SPINE_ML_ROOT": str(folder / f"ml-{node}"),
            "SPINE_MASTER": f"127.0.0.1:{port}",
            "SM_HOSTS": json.dumps(hosts),
            "SM_CURRENT_HOST": hosts[node],
            "SM_NUM_GPUS": str(job.accelerators),
            "SM_MODEL_DIR": str(folder / f"ml-{node}/model"),
            "SM_CHANNEL_TRAINING": str(folder / "data"),
        }


def _channel(name: str, url: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": url, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _machine(job: Job) -> str:
    if job.machine or job.accelerator is None:
        return job.machine or "ml.m5.2xlarge"
    return machine_with(ACCELERATORS[job.accelerator].sagemaker_machines, job.accelerator, job.accelerators, _TITLE)


def _tensorboard(root: str) -> str:
    return f"{root}/output/tensorboard"


def _hosts(environment: Mapping[str, str], root: Path) -> tuple[list[str], str]:
    """All machines in one order for all, and this one."""
    if "SM_HOSTS" in environment:
        hosts, current = required_json(environment, "SM_HOSTS", _TITLE), environment.get("SM_CURRENT_HOST")
    else:
        path = root / "input/config/resourceconfig.json"
        if not path.is_file():
            raise MissingInputError(f"expected SM_HOSTS or {path}, which SageMaker sets for a job's machines")
        content = json.loads(path.read_text(encoding="utf-8"))
        hosts, current = content["hosts"], content["current_host"]
    if not isinstance(hosts, list) or current not in hosts:
        raise MissingInputError(f"expected this machine among SageMaker's hosts, but found {current!r} of {hosts}")
    return sorted(hosts, key=lambda host: (len(host), host)), str(current)  # algo-10 after algo-9


def _faults(value: Any, shape: Any, place: str) -> Iterator[str]:
    """What the service would refuse besides types: words, patterns and lengths, which botocore does not check."""
    limits = shape.metadata
    if shape.type_name == "structure":
        for name, inner in (value or {}).items():
            yield from _faults(inner, shape.members[name], f"{place}.{name}".lstrip("."))
    elif shape.type_name == "list":
        for n, inner in enumerate(value):
            yield from _faults(inner, shape.member, f"{place}[{n}]")
    elif shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            yield f"{place}: {value!r} is none of the service's {len(shape.enum)} words"
        elif not re.fullmatch(limits.get("pattern", ".*"), value, re.DOTALL) or len(value) > limits.get("max", 10**9):
            yield f"{place}: {value!r} has not the form {limits.get('pattern')}"
    elif isinstance(value, int) and not isinstance(value, bool) and value > limits.get("max", value):
        yield f"{place}: {value} is more than {limits['max']}"
