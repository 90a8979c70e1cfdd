"""What the machine offers a step of a bundle."""

import pytest
import torch

from monai_spine.bundle.process import has_bfloat16, pins_memory


class CurrentGpu:
    """In place of `torch.cuda.device` on a machine without GPUs."""

    current: str | torch.device | None = None

    def __init__(self, device: str | torch.device) -> None:
        self.device = device

    def __enter__(self) -> None:
        CurrentGpu.current = self.device

    def __exit__(self, *_: object) -> None:
        CurrentGpu.current = None


def test_networks_run_in_bfloat16_only_where_the_gpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first GPU of this machine has it in hardware, the second one has not."""

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or torch.device(CurrentGpu.current).index != 1

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "device", CurrentGpu)
    assert has_bfloat16("cuda")
    assert has_bfloat16("cuda:0")
    assert not has_bfloat16("cuda:1")
    assert not has_bfloat16(torch.device("cuda", 1))
    assert not has_bfloat16("cpu")
    assert not has_bfloat16("mps")


def test_without_a_gpu_networks_run_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not has_bfloat16("cuda")


def test_memory_is_pinned_for_nvidia_gpus_alone() -> None:
    assert [pins_memory(name) for name in ("cpu", "mps", "cuda:1")] == [False, False, True]
