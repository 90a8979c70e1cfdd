"""The device is known without PyTorch where no GPU can be."""

import sys

import pytest

from monai_spine.runtime import device, engine
from monai_spine.runtime.device import device_type, usable_device


@pytest.mark.parametrize("name", ["cpu", None])
def test_without_the_driver_of_a_gpu_the_device_is_the_cpu_and_pytorch_stays_out(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_has_gpu_driver", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", None)  # its import would raise an error
    assert usable_device(name) == "cpu"


@pytest.mark.parametrize("available", [True, False])
def test_with_a_driver_pytorch_says_whether_there_is_a_gpu(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_has_gpu_driver", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: available)
    assert usable_device(None) == ("cuda" if available else "cpu")


def test_the_type_of_a_device_is_without_its_number() -> None:
    assert [device_type(name) for name in ("cpu", "cuda:1", "mps")] == ["cpu", "cuda", "mps"]


def test_networks_take_as_many_threads_as_pytorch_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert engine.thread_count() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert engine.thread_count() >= 1
