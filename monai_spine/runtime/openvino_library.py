"""The one place that imports OpenVINO."""

from __future__ import annotations

import sys
from types import ModuleType


def load_openvino() -> ModuleType:
    """OpenVINO, which reports nothing over the internet.

    Its package sends an event to its makers whenever it is imported, unless the package that sends cannot be imported.
    Programs that grade patients' images must not do so, even though the event holds nothing of the images.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
