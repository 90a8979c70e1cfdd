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
