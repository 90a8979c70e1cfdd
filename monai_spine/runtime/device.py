"""The device that networks run on, by the name that PyTorch gives it; known without PyTorch where that is possible."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from monai_spine.errors import InvalidOptionError, counted


def usable_device(name: str | None) -> str:
    """The device ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; for None an NVIDIA GPU if there is one, else the CPU.

    Raises
    ------
    InvalidOptionError
        If there is no such device.
    """
    if name == "cpu" or (name is None and not _has_gpu_driver()):
        return "cpu"  # without PyTorch, whose import takes a second or more
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as err:
        raise InvalidOptionError(f"expected the device cpu, cuda or mps, but given {name!r}") from err
    if device.type not in ("cpu", "cuda", "mps"):
        raise InvalidOptionError(f"expected the device cpu, cuda or mps, but given {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidOptionError(f"there is no device {name} here, but {counted(torch.cuda.device_count(), 'GPU')}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InvalidOptionError("there is no device mps here: it is the GPU of Apple's processors")
    return str(device)


def device_type(device: str) -> str:
    """``cpu``, ``cuda`` or ``mps``."""
    return device.partition(":")[0]


def _has_gpu_driver() -> bool:
    """Whether a driver is installed without which PyTorch sees no GPU: NVIDIA's, or that of AMD."""
    if sys.platform == "darwin":
        return False
    if Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True
