"""The GPUs that jobs ask for, and the machines that have them on each platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monai_spine.errors import InvalidOptionError, near_names


@dataclass(frozen=True)
class Accelerator:
    """A type of GPU.

    Attributes
    ----------
    vertex
        Its name in ``AcceleratorType`` of Vertex AI.
    vertex_machines, sagemaker_machines, azure_machines
        The type of machine for each number of GPUs. Empty if the platform does not rent this accelerator.
    slurm
        Its usual name in ``gres.conf``; sites may have others.
    """

    vertex: str
    slurm: str
    vertex_machines: Mapping[int, str] = field(default_factory=dict)
    sagemaker_machines: Mapping[int, str] = field(default_factory=dict)
    azure_machines: Mapping[int, str] = field(default_factory=dict)


# From the vendors' lists of machine types, November 2026. The vendors' own types know the names of accelerators and of
# SageMaker's machines, and the tests compare those; which machine has which GPU stands only in the vendors' pages.
ACCELERATORS = {
    "T4": Accelerator(
        vertex="NVIDIA_TESLA_T4",
        slurm="t4",
        vertex_machines={1: "n1-standard-8", 2: "n1-standard-16", 4: "n1-standard-32"},
        sagemaker_machines={1: "ml.g4dn.2xlarge", 4: "ml.g4dn.12xlarge"},
        azure_machines={1: "Standard_NC8as_T4_v3", 4: "Standard_NC64as_T4_v3"},
    ),
    "L4": Accelerator(
        vertex="NVIDIA_L4",
        slurm="l4",
        vertex_machines={1: "g2-standard-8", 2: "g2-standard-24", 4: "g2-standard-48", 8: "g2-standard-96"},
        sagemaker_machines={1: "ml.g6.2xlarge", 4: "ml.g6.12xlarge", 8: "ml.g6.48xlarge"},
    ),
    "V100": Accelerator(
        vertex="NVIDIA_TESLA_V100",
        slurm="v100",
        vertex_machines={1: "n1-standard-8", 2: "n1-standard-16", 4: "n1-standard-32", 8: "n1-standard-64"},
        sagemaker_machines={1: "ml.p3.2xlarge", 4: "ml.p3.8xlarge", 8: "ml.p3.16xlarge"},
        azure_machines={1: "Standard_NC6s_v3", 2: "Standard_NC12s_v3", 4: "Standard_NC24s_v3"},
    ),
    "A100": Accelerator(
        vertex="NVIDIA_TESLA_A100",
        slurm="a100",
        vertex_machines={1: "a2-highgpu-1g", 2: "a2-highgpu-2g", 4: "a2-highgpu-4g", 8: "a2-highgpu-8g"},
        sagemaker_machines={8: "ml.p4d.24xlarge"},
        azure_machines={8: "Standard_ND96asr_v4"},
    ),
    "A100-80GB": Accelerator(
        vertex="NVIDIA_A100_80GB",
        slurm="a100",
        vertex_machines={1: "a2-ultragpu-1g", 2: "a2-ultragpu-2g", 4: "a2-ultragpu-4g", 8: "a2-ultragpu-8g"},
        sagemaker_machines={8: "ml.p4de.24xlarge"},
        azure_machines={
            1: "Standard_NC24ads_A100_v4",
            2: "Standard_NC48ads_A100_v4",
            4: "Standard_NC96ads_A100_v4",
            8: "Standard_ND96amsr_A100_v4",
        },
    ),
    "H100": Accelerator(
        vertex="NVIDIA_H100_80GB",
        slurm="h100",
        vertex_machines={1: "a3-highgpu-1g", 2: "a3-highgpu-2g", 4: "a3-highgpu-4g", 8: "a3-highgpu-8g"},
        sagemaker_machines={1: "ml.p5.4xlarge", 8: "ml.p5.48xlarge"},
        azure_machines={1: "Standard_NC40ads_H100_v5", 2: "Standard_NC80adis_H100_v5", 8: "Standard_ND96isr_H100_v5"},
    ),
    "H200": Accelerator(
        vertex="NVIDIA_H200_141GB",
        slurm="h200",
        vertex_machines={8: "a3-ultragpu-8g"},
        sagemaker_machines={8: "ml.p5en.48xlarge"},
        azure_machines={8: "Standard_ND96isr_H200_v5"},
    ),
    "B200": Accelerator(
        vertex="NVIDIA_B200",
        slurm="b200",
        vertex_machines={8: "a4-highgpu-8g"},
        sagemaker_machines={8: "ml.p6-b200.48xlarge"},
    ),
}


def parse_accelerator(text: str) -> tuple[str, int]:
    """The type and the number of GPUs of each machine, from ``T4`` or ``H100:8``.

    Raises
    ------
    InvalidOptionError
        If the type is not known, or the number is none.
    """
    name, _, number = text.partition(":")
    known = {known.lower(): known for known in ACCELERATORS}
    if name.lower() not in known:
        raise InvalidOptionError(f"there is no accelerator {name!r}{near_names(name.upper(), ACCELERATORS)}")
    if number and not (number.isdecimal() and int(number) > 0):
        raise InvalidOptionError(f"expected --accelerator TYPE or TYPE:NUMBER, such as H100:8, but found {text!r}")
    return known[name.lower()], int(number or 1)


def machine_with(machines: Mapping[int, str], accelerator: str, number: int, platform: str) -> str:
    """The machine of a platform that has a number of GPUs.

    Raises
    ------
    InvalidOptionError
        If there is none; ``--machine`` names one that is not in the table.
    """
    if number in machines:
        return machines[number]
    offered = f"with {', '.join(map(str, machines))}" if machines else "at all"
    raise InvalidOptionError(
        f"{platform} has no machine with {number} × {accelerator} in our table, which has machines {offered}; "
        "choose another number, or name a machine with --machine"
    )
