"""Jobs for tests: for each platform a request that it accepts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from monai_spine.jobs.description import Job
from monai_spine.jobs.job_folder import Request, write_job_folder

REQUESTS = {
    "vertex": Request("lumbar_unet_classifier", "gs://b/run", "gs://b/nifti", image="i:1", own={"region": "r"}),
    "kubernetes": Request("lumbar_unet_classifier", "/mnt/spine/run", "/mnt/spine/n", image="i:1", own={"claim": "c"}),
    "sagemaker": Request(
        "lumbar_unet_classifier",
        "s3://b/run",
        "s3://b/nifti",
        image="i:1",
        own={"role": "arn:aws:iam::123456789012:role/trainer"},
    ),
    "azureml": Request(
        "lumbar_unet_classifier",
        "azureml://datastores/d/paths/run",
        "azureml://datastores/d/paths/nifti",
        image="i:1",
        own={"workspace": "w", "resource-group": "g"},
    ),
    "slurm": Request("lumbar_unet_classifier", "/shared/run", "/shared/nifti", own={"python": "/shared/bin/python"}),
}
GPUS = {"vertex": "L4:2", "kubernetes": "A100:8", "sagemaker": "L4:4", "azureml": "H100:2", "slurm": "H100:8"}


def write(platform: str, folder: Path, *, check: bool = False, force: bool = False, **changes: object) -> Job:
    request = dataclasses.replace(REQUESTS[platform], **changes)
    return write_job_folder(platform, request, folder, check=check, force=force)
