import pytest
import torch
from torch.nn.functional import pad

from monai_spine.levels.sagittal.slice_unet import SliceUNet


@pytest.mark.parametrize("more", [1, 2, 3, 5, 8])
def test_maps_lie_where_the_image_shows_it_whatever_its_size(more: int) -> None:
    torch.manual_seed(0)
    network = SliceUNet(out_channels=1, channels=(4, 4, 4, 4)).eval()
    image = torch.rand(1, 1, 3, 12, 12).repeat_interleave(8, 3).repeat_interleave(8, 4)
    larger = pad(image, (0, more, 0, more, 0, 0), mode="replicate")
    with torch.no_grad():
        one, other = network(image)[..., :40, :40], network(larger)[..., :40, :40]
    assert float((one - other).std() / one.std()) < 0.2


@pytest.mark.parametrize("size", [(5, 48, 48), (1, 40, 56), (17, 51, 45)])
def test_the_network_takes_any_number_of_slices_of_any_size(size: tuple[int, int, int]) -> None:
    network = SliceUNet(out_channels=8, channels=(8, 16, 16, 24))
    maps = network(torch.rand(2, 1, *size))
    assert maps.shape == (2, 8, size[0], -(-size[1] // 2), -(-size[2] // 2))


def test_a_voxel_of_the_map_looks_at_its_own_place() -> None:
    torch.manual_seed(1)
    network = SliceUNet(out_channels=1, channels=(8, 8), mixed=0)
    image = torch.rand(1, 1, 4, 128, 128, requires_grad=True)
    network(image)[0, 0, 2, 30, 20].backward()
    pull = image.grad[0, 0].abs()
    near = pull[2, 30:91, 10:71]  # elsewhere only the normalisation has an influence
    assert near.mean() > 10 * pull[[0, 1, 3]].mean()
    assert near.mean() > 10 * pull[2, 96:].mean()


def test_a_volume_is_seen_alike_whatever_is_seen_beside_it() -> None:
    torch.manual_seed(1)
    network = SliceUNet(out_channels=2, channels=(8, 8))
    image = torch.rand(2, 1, 4, 32, 32)
    image[1] *= 50
    assert torch.allclose(network(image)[0], network(image[:1])[0], atol=1e-5)
    assert torch.allclose(network.eval()(image)[0], network.train()(image)[0], atol=1e-5)


def test_the_network_can_be_scripted() -> None:
    network = SliceUNet(out_channels=2, channels=(8, 8, 8))
    image = torch.rand(1, 1, 3, 32, 36)
    assert torch.allclose(torch.jit.script(network)(image), network(image), atol=1e-5)


def test_the_coarsest_stage_mixes_neighbouring_slices() -> None:
    torch.manual_seed(1)
    network = SliceUNet(out_channels=1, channels=(8, 8), mixed=1)
    image = torch.rand(1, 1, 4, 32, 32, requires_grad=True)
    network(image)[0, 0, 2].sum().backward()
    assert (image.grad[0, 0].abs().sum(dim=(1, 2)) > 0)[1:].all()
