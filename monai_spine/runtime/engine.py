"""A converted model, ready to run: from a tensor to a tensor, as a network of PyTorch does."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.runtime.choice import Precision, Runtime, RuntimeChoice
from monai_spine.runtime.conversion import Files
from monai_spine.runtime.openvino_library import load_openvino, openvino_core


class Engine(Protocol):
    """What runs a network; a network of PyTorch is one, too."""

    def __call__(self, image: torch.Tensor, /) -> torch.Tensor:
        """The network's output."""
        ...


class OpenVinoEngine:
    """Runs a model with OpenVINO on the CPU. It uses as many threads as PyTorch has.

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
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # Else each of several worker processes binds its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """The network's output, in float32."""
        outputs = self._request.infer([np.ascontiguousarray(image.numpy())], share_inputs=True)
        # A copy: the next call writes into the same memory.
        return torch.from_numpy(np.array(outputs[0], dtype=np.float32))


class OnnxEngine:
    """Runs a model with ONNX Runtime on the CPU, in float32. It uses as many threads as PyTorch has."""

    def __init__(self, files: Files) -> None:
        import onnxruntime

        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors alone; it warns of parts that it simplifies
        self._session = onnxruntime.InferenceSession(files["model.onnx"], options, providers=["CPUExecutionProvider"])

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """The network's output."""
        # One by one: the converted model takes a batch of one.
        each = [self._session.run(None, {"image": np.ascontiguousarray(one.numpy())})[0] for one in image.split(1)]
        return torch.from_numpy(np.concatenate(each))


def open_engine(files: Files, choice: RuntimeChoice) -> Engine:
    """The engine of a converted model.

    Raises
    ------
    InvalidOptionError
        If the processor does not compute in the precision.
    """
    return OpenVinoEngine(files, choice.precision) if choice.runtime is Runtime.OPENVINO else OnnxEngine(files)
