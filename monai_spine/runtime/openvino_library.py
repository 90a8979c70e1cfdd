"""The one place that imports OpenVINO."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any


def load_openvino() -> ModuleType:
    """OpenVINO, which reports nothing over the internet.

    Its package sends an event to its makers whenever it is imported, unless the package that sends cannot be imported.
    Programs that grade patients' images must not do so, even though the event holds nothing of the images.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@functools.cache
def openvino_core() -> Any:
    """OpenVINO's core, one for the whole process.

    A core gives its thread a new stack for signals, and restores the earlier stack when it ends. Suppose that two cores
    end in the order in which they began. Then the second restores the stack of the first, which is already freed. The
    next signal, such as that of a child's end, kills the process (OpenVINO 2026.4, Linux, processors with AMX).
    """
    return load_openvino().Core()
