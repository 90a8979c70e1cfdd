"""From a network of PyTorch to the files of another runtime, as bytes by name.

Both start from a trace of the network, so branches that depend on values are fixed as the example takes them.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import torch
from torch import nn

from monai_spine.errors import one_line
from monai_spine.runtime.choice import Runtime
from monai_spine.runtime.converted_model import Files, NotConvertibleError
from monai_spine.runtime.openvino_library import load_openvino

_OPSET = 18
"""Of ONNX: the first one that cuts antialiased sizes, and old enough for every ONNX Runtime since 1.14."""
_LONGEST = 300
"""Characters of a library's message in ours."""


def convert(network: nn.Module, shape: Sequence[int | None], runtime: Runtime) -> Files:
    """A network for a runtime; it takes one tensor and gives one.

    Parameters
    ----------
    network
        In evaluation mode, on the CPU, in float32. Parts with ``keeps_float32`` stay in float32 where OpenVINO runs the
        others in bfloat16.
    shape
        Of the input; None for a dimension of any size.

    Raises
    ------
    NotConvertibleError
        If the runtime does not know a part of the network.
    """
    # Two of a batch, since PyTorch may take another way for one. ONNX has one: its exporter knows no LSTM of any batch.
    free = [1 if runtime is Runtime.ONNX else 2, *[_EXAMPLE_SIZE] * (len(shape) - 1)]
    example = torch.zeros([usual if size is None else size for size, usual in zip(shape, free, strict=True)])
    try:
        with _traceable(), torch.inference_mode(mode=False), torch.no_grad():
            return _CONVERTERS[runtime](network, example, shape)
    except Exception as error:  # converters raise errors of many kinds
        raise NotConvertibleError(
            f"{type(network).__name__} cannot be converted for {runtime.value} ({one_line(error)[:_LONGEST]}); "
            "use --runtime torch"
        ) from error


_EXAMPLE_SIZE = 32
"""Small, but a network may halve its input five times."""


@contextmanager
def _traceable() -> Iterator[None]:
    """PyTorch without its fused transformer layer, which no other library knows, and without warnings of traces."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _to_openvino(network: nn.Module, example: torch.Tensor, shape: Sequence[int | None]) -> Files:
    openvino = load_openvino()
    # Not `openvino.convert_model`: its trace is checked by names of modules, which change, so sound networks fail.
    traced = torch.jit.trace(network, example, check_trace=False)
    from openvino._offline_transformations import apply_moc_transformations
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    reader = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # by name: OpenVINO does not keep it alive
    model = reader.convert(reader.load(decoder))
    model.reshape({0: openvino.PartialShape([-1 if size is None else size for size in shape])})
    # As OpenVINO's own converter does: half of the operations are constants or double, and opening takes a third less.
    apply_moc_transformations(model, cf=True)
    with tempfile.TemporaryDirectory(prefix="openvino-") as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return {
            "model.xml": _keeping_float32(path.read_bytes(), network),
            "model.bin": path.with_suffix(".bin").read_bytes(),
        }


_STAYS_FLOAT32 = (
    {"name": "precise", "version": "0"},  # up to OpenVINO 2025
    {"name": "DisablePrecisionConversion", "version": "0", "value": "dynamic:f16"},  # since then; for bfloat16 too
)
"""Attributes of an operation that the CPU runs in the precision of the model. OpenVINO sets them by itself on what it
knows to be sensitive; Python has no function for it. If they had no effect, the gate would see the bfloat16."""


def _keeping_float32(model: bytes, network: nn.Module) -> bytes:
    """A model of OpenVINO, as XML, in which operations of modules with ``keeps_float32`` are marked."""
    # The frontend names an operation by its module: __module.up.2.stage.inside.0.0/aten::_convolution/Convolution
    kept = [f"__module.{name}." for name, part in network.named_modules() if getattr(part, "keeps_float32", False)]
    root = ElementTree.fromstring(model)  # noqa: S314 - OpenVINO wrote it a moment ago
    for layer in root.iter("layer"):
        if f"{layer.attrib['name'].partition('/')[0]}.".startswith(tuple(kept)):
            attributes = layer.find("rt_info")
            if attributes is None:
                attributes = ElementTree.Element("rt_info")
                layer.insert(0 if layer.find("data") is None else 1, attributes)
            for attribute in _STAYS_FLOAT32:
                ElementTree.SubElement(attributes, "attribute", attribute)
    return ElementTree.tostring(root)


def _to_onnx(network: nn.Module, example: torch.Tensor, shape: Sequence[int | None]) -> Files:
    free = {n: f"size_{n}" for n, size in enumerate(shape) if n > 0 and size is None}
    with tempfile.TemporaryDirectory(prefix="onnx-") as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["image"],
            output_names=["output"],
            dynamic_axes={"image": free},
            opset_version=_OPSET,
            dynamo=False,  # the newer exporter takes 15 s for the shipped grader, and this one less than one
        )
        return {path.name: path.read_bytes()}


_CONVERTERS = {Runtime.OPENVINO: _to_openvino, Runtime.ONNX: _to_onnx}
