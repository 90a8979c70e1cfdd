"""A network, ready to run: from an array to an array, whatever library runs it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from monai_spine.errors import InvalidOptionError
from monai_spine.runtime.choice import Precision, Runtime, RuntimeChoice
from monai_spine.runtime.converted_model import Files
from monai_spine.runtime.openvino_library import load_openvino, openvino_core

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]


class Engine(Protocol):
    """What runs a network."""

    def __call__(self, image: Floats, /) -> Floats:
        """The network's output, in float32."""
        ...


class TorchEngine:
    """Runs a network with PyTorch on a device, in evaluation mode."""

    def __init__(self, network: torch.nn.Module, device: str = "cpu") -> None:
        self.network, self.device = network.to(device).eval(), device

    def __call__(self, image: Floats) -> Floats:
        """The network's output, in float32."""
        import torch

        with torch.inference_mode():
            # A copy where strides are negative, which PyTorch refuses.
            made = self.network(torch.from_numpy(np.ascontiguousarray(image)).to(self.device))
            return np.asarray(made.float().cpu().numpy())


class OpenVinoEngine:
    """Runs a model with OpenVINO on the CPU, with `thread_count` threads.

    Raises
    ------
    InvalidOptionError
        If the processor does not compute in the precision.
    """

    def __init__(self, files: Files, precision: Precision = Precision.FLOAT32) -> None:
        openvino, core = load_openvino(), openvino_core()
        if precision is Precision.BFLOAT16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InvalidOptionError("this processor does not compute in bfloat16; use --precision float32")
        model = core.read_model(files["model.xml"], openvino.Tensor(np.frombuffer(files["model.bin"], dtype=np.uint8)))
        settings = {
            # OpenVINO takes bfloat16 by itself on processors that have it.
            "INFERENCE_PRECISION_HINT": {Precision.FLOAT32: "f32", Precision.BFLOAT16: "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": thread_count(),
            # Else each of several worker processes binds its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, image: Floats) -> Floats:
        """The network's output, in float32."""
        outputs = self._request.infer([np.ascontiguousarray(image)], share_inputs=True)
        # A copy: the next call writes into the same memory.
        return np.array(outputs[0], dtype=np.float32)


class OnnxEngine:
    """Runs a model with ONNX Runtime on the CPU, in float32, with `thread_count` threads."""

    def __init__(self, files: Files) -> None:
        import onnxruntime

        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.log_severity_level = 3  # errors alone; it warns of parts that it simplifies
        self._session = onnxruntime.InferenceSession(files["model.onnx"], options, providers=["CPUExecutionProvider"])

    def __call__(self, image: Floats) -> Floats:
        """The network's output."""
        # One by one: the converted model takes a batch of one.
        each = [self._session.run(None, {"image": np.ascontiguousarray(one[None])})[0] for one in image]
        return np.concatenate(each)


def open_engine(files: Files, choice: RuntimeChoice) -> Engine:
    """The engine of a converted model.

    Raises
    ------
    InvalidOptionError
        If the processor does not compute in the precision.
    """
    return OpenVinoEngine(files, choice.precision) if choice.runtime is Runtime.OPENVINO else OnnxEngine(files)


def thread_count() -> int:
    """Threads of a network: as many as PyTorch has where it is imported, else what it would take."""
    if "torch" in sys.modules:
        import torch

        return torch.get_num_threads()
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
