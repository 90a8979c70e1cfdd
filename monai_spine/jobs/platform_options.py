"""What each platform asks for besides the common options. The command line reads this, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Offer:
    """A platform for the command line.

    Attributes
    ----------
    title
        Its name in messages.
    options
        What only this platform asks for: help texts by the name of the option.
    required
        Those of ``options`` that have no default.
    example
        Options for the help's example.
    """

    title: str
    options: Mapping[str, str]
    required: tuple[str, ...]
    example: str


OFFERS = {
    "vertex": Offer(
        "Vertex AI",
        {
            "region": "The region, such as europe-west4, for the command that submits.",
            "service-account": "The account that the machines act as. [default: the project's]",
        },
        ("region",),
        "--data gs://b/nifti --output gs://b/run --image IMAGE --region europe-west4",
    ),
    "kubernetes": Offer(
        "Kubernetes",
        {
            "claim": "A PersistentVolumeClaim that several pods can write, with data and results.",
            "mount": "Where the claim is mounted. [default: /mnt/spine]",
            "namespace": "The namespace. [default: default]",
            "runtime": "The ClusterTrainingRuntime. [default: torch-distributed]",
            "spot-label": "The label and taint of spot machines. [default: cloud.google.com/gke-spot=true]",
        },
        ("claim",),
        "--data /mnt/spine/nifti --output /mnt/spine/run --image IMAGE --claim spine",
    ),
    "sagemaker": Offer(
        "SageMaker",
        {"role": "The ARN of the IAM role that the job acts as."},
        ("role",),
        "--data s3://b/nifti --output s3://b/run --image IMAGE --role ARN",
    ),
    "azureml": Offer(
        "AzureML",
        {
            "workspace": "The workspace, for the command that submits.",
            "resource-group": "The resource group, for the command that submits.",
            "compute": "The name of a compute cluster. [default: serverless machines]",
        },
        ("workspace", "resource-group"),
        "--data azureml://datastores/d/paths/nifti --output azureml://datastores/d/paths/run …",
    ),
    "slurm": Offer(
        "Slurm",
        {
            "partition": "The partition. [default: the cluster's]",
            "account": "The account that is charged.",
            "qos": "The quality of service, such as one that may be preempted.",
            "python": "The Python that has this package, on all machines. [default: python]",
            "cpus": "Processor cores of each machine. [default: 8]",
        },
        (),
        "--data /shared/nifti --output /shared/run --python /shared/venv/bin/python",
    ),
}
