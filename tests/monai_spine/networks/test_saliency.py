import numpy as np
import pytest
import torch
from monai.visualize import GradCAM
from torch import nn

from monai_spine.networks.level_grader import LevelGrader
from monai_spine.networks.saliency import find_saliency


def network(backbones: tuple[str, ...] = ("test_resnet",), **changes: object) -> LevelGrader:
    torch.manual_seed(0)
    options = {"views": [3, 2], "pixels": [64, 64], "backbones": list(backbones), "features": 16, **changes}
    return LevelGrader(**options).eval()


class Flat(nn.Module):
    """Logits ``(1, 75)``, as MONAI's Grad-CAM takes them."""

    def __init__(self, inner: LevelGrader) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.inner(image).flatten(1)


@pytest.mark.parametrize("absent", [False, True])
def test_maps_are_those_of_monais_grad_cam(absent: bool) -> None:
    net, image = network(), torch.rand(1, 5, 5, 64, 64)
    if absent:
        image[0, 1, 2] = image[0, 3, 4] = -1.0
    grades = np.arange(25) % 3
    found = find_saliency(net, image, grades).activation
    layer = "inner.backbones.0.body.layer2"
    theirs = GradCAM(Flat(net), layer, upsampler=lambda _: lambda maps: maps, postprocessing=lambda maps: maps)
    order = [(level, n) for view in ((0, 3), (3, 5)) for level in range(5) for n in range(*view)]
    order = [one for one in order if not absent or one not in {(1, 2), (3, 4)}]
    for condition, level in ((0, 0), (2, 3), (4, 1)):
        finding = condition * 5 + level
        maps = torch.as_tensor(theirs(image, class_idx=finding * 3 + int(grades[finding]))).detach()
        mine = np.stack([found[level, condition, n] for one, n in order if one == level])
        theirs_here = torch.stack([maps[k] for k, one in enumerate(order) if one[0] == level])
        expected = nn.functional.interpolate(theirs_here, (16, 16), mode="bilinear", align_corners=False)[:, 0].numpy()
        assert mine == pytest.approx(expected / max(expected.max(), 1e-30), abs=1e-4)


def test_attention_is_that_of_the_network() -> None:
    net, image = network(), torch.rand(1, 5, 5, 64, 64)
    attention = find_saliency(net, image, np.zeros(25, dtype=np.int64)).attention
    assert attention == pytest.approx(net.attention(image)[0].detach().numpy(), abs=1e-6)
    assert attention[..., :3].sum(axis=-1) == pytest.approx(1)


@pytest.mark.parametrize("backbones", [("test_convnext", "test_resnet"), ("test_vit",)])
def test_every_family_of_backbones_has_maps_and_absent_slices_are_0(backbones: tuple[str, ...]) -> None:
    net, image = network(backbones, backbone_of_view=[0, len(backbones) - 1]), torch.rand(1, 5, 5, 64, 64)
    image[0, 2, 4] = -1.0
    found = find_saliency(net, image, np.zeros(25, dtype=np.int64)).activation
    if found is not None:  # test_vit has patches that are too coarse
        assert found.shape == (5, 5, 5, 16, 16)
        assert (found[2, :, 4] == 0).all()
        assert found.min() >= 0
        assert found.max() == pytest.approx(1)


def test_the_network_is_left_as_it_was() -> None:
    net, image = network(), torch.rand(1, 5, 5, 64, 64)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    find_saliency(net, image, np.zeros(25, dtype=np.int64))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not net.training
