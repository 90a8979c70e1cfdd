"""Converted networks give the answers of PyTorch."""

import pytest
import torch
from torch import nn

from monai_spine.crops.view import ABSENT
from monai_spine.errors import SpineError
from monai_spine.levels.sagittal.slice_unet import SliceUNet
from monai_spine.levels.sagittal.volume_form import VolumeForm
from monai_spine.networks.level_grader import LevelGrader
from monai_spine.runtime.choice import Precision, Runtime, RuntimeChoice
from monai_spine.runtime.conversion import convert
from monai_spine.runtime.engine import open_engine
from monai_spine.runtime.openvino_library import openvino_core

RUNTIMES = [Runtime.OPENVINO, Runtime.ONNX]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_level_localizer_gives_the_same_maps_of_any_number_of_slices(runtime: Runtime) -> None:
    torch.manual_seed(0)
    network = SliceUNet(out_channels=3, channels=(8, 8), mixed=1).eval()
    files = convert(VolumeForm(network, single=False), (None, 1, None, None, None), runtime)
    engine = open_engine(files, RuntimeChoice(runtime))
    for slices, rows, columns in ((1, 32, 48), (5, 33, 40), (13, 48, 37)):
        image = torch.rand(1, 1, slices, rows, columns)
        with torch.no_grad():
            assert torch.sigmoid(torch.from_numpy(engine(image.numpy()))).numpy() == pytest.approx(
                torch.sigmoid(network(image)).numpy(), abs=1e-5
            )


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_recess_localizer_gives_the_same_maps_of_each_of_several_slices(runtime: Runtime) -> None:
    torch.manual_seed(1)
    network = SliceUNet(in_channels=3, out_channels=2, channels=(8, 8), mixed=0).eval()
    files = convert(VolumeForm(network, single=True), (None, 3, 1, None, None), runtime)
    image = torch.rand(3, 3, 1, 32, 32)
    with torch.no_grad():
        expected = network(image)
    assert open_engine(files, RuntimeChoice(runtime))(image.numpy()) == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_grader_gives_the_same_logits_with_and_without_absent_slices(runtime: Runtime) -> None:
    torch.manual_seed(2)
    network = LevelGrader(views=[3, 2], pixels=[32, 32], backbones=["test_resnet"], standardise=True).eval()
    engine = open_engine(convert(network, (None, 5, 5, 32, 32), runtime), RuntimeChoice(runtime))
    images = torch.rand(2, 5, 5, 32, 32)
    images[0, 1, 2], images[1, 3, 3:] = ABSENT, ABSENT
    with torch.no_grad():
        assert engine(images.numpy()) == pytest.approx(network(images).numpy(), abs=1e-5)
        assert engine(images[1:].numpy()) == pytest.approx(network(images[1:]).numpy(), abs=1e-5)


@pytest.mark.parametrize("kept", [True, False])
def test_a_part_that_keeps_float32_does_so_where_others_have_bfloat16(kept: bool) -> None:
    if "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor does not compute in bfloat16")
    torch.manual_seed(3)
    first, second = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 16, 3)
    first.keeps_float32 = second.keeps_float32 = kept  # type: ignore[assignment]
    network, image = nn.Sequential(first, nn.ReLU(), second).eval(), torch.rand(1, 1, 32, 32)
    files = convert(network, (None, 1, None, None), Runtime.OPENVINO)
    made = open_engine(files, RuntimeChoice(Runtime.OPENVINO, Precision.BFLOAT16))(image.numpy())
    with torch.no_grad():
        error = float(abs(made - network(image).numpy()).max())
    assert (error < 1e-5) is kept
    assert error < 0.05


def test_a_network_that_cannot_be_converted_is_named_with_the_way_out() -> None:
    class Unknown(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.linalg.matrix_exp(image)

    with pytest.raises(SpineError, match=r"Unknown cannot be converted for openvino.*use --runtime torch"):
        convert(Unknown(), (4, 4), Runtime.OPENVINO)


def test_pytorch_keeps_its_fused_transformer_after_a_conversion() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    convert(nn.Linear(4, 4).eval(), (None, 4), Runtime.OPENVINO)
    assert torch.backends.mha.get_fastpath_enabled() is before
