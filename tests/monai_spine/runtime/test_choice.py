import subprocess
import sys

import pytest

from monai_spine.errors import InvalidOptionError, SpineError
from monai_spine.runtime import choice
from monai_spine.runtime.choice import Precision, Runtime, RuntimeChoice, choose_runtime


def test_auto_is_openvino_on_cpus_and_pytorch_elsewhere() -> None:
    assert choose_runtime("auto", "float32", "cpu").runtime is Runtime.OPENVINO
    assert choose_runtime("auto", "float32", "cuda").runtime is Runtime.TORCH
    assert choose_runtime("auto", "float32", "mps").runtime is Runtime.TORCH


def test_auto_is_pytorch_where_openvino_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert choose_runtime("auto", "float32", "cpu").is_torch


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_a_missing_package_is_named_in_one_line_with_the_command_that_installs_it(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(SpineError) as raised:
        choose_runtime(runtime, "float32", "cpu")
    assert f"pip install 'monai-spine[{runtime}]'" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_runtimes_of_cpus_are_refused_on_gpus(runtime: str) -> None:
    with pytest.raises(InvalidOptionError, match="--device cpu"):
        choose_runtime(runtime, "float32", "cuda")


@pytest.mark.parametrize(("runtime", "device"), [("torch", "cpu"), ("onnx", "cpu"), ("auto", "cuda")])
def test_bfloat16_is_for_openvino(runtime: str, device: str) -> None:
    with pytest.raises(InvalidOptionError, match="needs --runtime openvino"):
        choose_runtime(runtime, "bfloat16", device)


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="tensorrt"):
        choose_runtime("tensorrt", "float32", "cpu")


def test_only_the_precision_marks_the_digest_of_a_model() -> None:
    assert RuntimeChoice(Runtime.OPENVINO).mark == RuntimeChoice().mark == ""
    assert RuntimeChoice(Runtime.OPENVINO, Precision.BFLOAT16).mark == "+bfloat16"


def test_openvino_is_loaded_without_the_package_that_reports_its_use() -> None:
    program = (
        "import sys; from monai_spine.runtime.openvino_library import load_openvino\n"
        "print(load_openvino().__name__, sys.modules['openvino_telemetry'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino None"


def test_what_predict_needs_is_imported_without_pytorch_and_what_stands_on_it() -> None:
    program = (
        "import sys, monai_spine.prediction.run, monai_spine.prediction.models, monai_spine.dicom_out.outputs\n"
        "import monai_spine.levels.locate\n"
        "slow = {'monai', 'ignite', 'timm', 'torchvision', 'openvino', 'onnxruntime', 'matplotlib', 'pandas'}\n"
        "slow |= {'torch', 'scipy.optimize'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
