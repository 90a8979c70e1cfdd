"""The platforms that run jobs: what each is asked for, how it checks that, and what it tells a job's machines."""

from __future__ import annotations

from monai_spine.jobs.platforms.azureml import AzureML
from monai_spine.jobs.platforms.kubernetes import Kubernetes
from monai_spine.jobs.platforms.platform import Platform
from monai_spine.jobs.platforms.sagemaker import SageMaker
from monai_spine.jobs.platforms.slurm import Slurm
from monai_spine.jobs.platforms.vertex import Vertex

PLATFORMS: dict[str, Platform] = {
    platform.name: platform for platform in (Vertex(), Kubernetes(), SageMaker(), AzureML(), Slurm())
}
