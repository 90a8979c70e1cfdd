"""What the machine offers a step of a bundle."""

import pytest
import torch

from monai_spine.bundle.process import has_bfloat16, pins_memory


@pytest.mark.parametrize("in_hardware", [True, False])
def test_networks_run_in_bfloat16_only_where_the_gpu_has_it(in_hardware: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or in_hardware

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert has_bfloat16("cuda") is in_hardware
    assert has_bfloat16(torch.device("cuda", 1)) is in_hardware
    assert not has_bfloat16("cpu")
    assert not has_bfloat16("mps")


def test_without_a_gpu_networks_run_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not has_bfloat16("cuda")


def test_memory_is_pinned_for_nvidia_gpus_alone() -> None:
    assert [pins_memory(name) for name in ("cpu", "mps", "cuda:1")] == [False, False, True]
