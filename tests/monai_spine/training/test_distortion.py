import pytest
import torch

from monai_spine.crops.view import ABSENT, View
from monai_spine.errors import InvalidOptionError
from monai_spine.training.distortion import Distortions

VIEWS = (
    View(name="a", plane="sagittal", series=["sagittal_t2"], pixels=(16, 16), slices=2),
    View(name="b", plane="axial", series=["axial_t2"], pixels=(16, 16), slices=2),
)


def by_column() -> torch.Tensor:
    """Grey values that depend on the column alone."""
    return torch.linspace(0, 1, 16).expand(3, 5, 4, 16, 16).clone()


def test_axial_slices_are_never_moved_across_left_and_right() -> None:
    torch.manual_seed(0)
    image = by_column()
    distorted = Distortions(share=1.0)(image, VIEWS)
    assert torch.allclose(distorted[:, :, 2:], image[:, :, 2:], atol=1e-5)
    assert (distorted[:, :, :2] - image[:, :, :2]).abs().max() > 0.02
    rows = by_column().transpose(3, 4).contiguous()
    assert (Distortions(share=1.0)(rows, VIEWS)[:, :, 2:] - rows[:, :, 2:]).abs().max() > 0.02


def test_all_slices_of_a_view_of_a_level_are_distorted_alike_and_levels_differ() -> None:
    torch.manual_seed(0)
    distorted = Distortions(share=1.0)(by_column(), VIEWS)
    assert torch.allclose(distorted[:, :, 0], distorted[:, :, 1])
    assert not torch.allclose(distorted[0, 0, 0], distorted[0, 1, 0], atol=1e-3)


def test_absent_slices_stay_absent_and_grey_values_in_their_range() -> None:
    torch.manual_seed(0)
    image = by_column()
    image[0, 0, 1] = image[2, 3, 2] = ABSENT
    distorted = Distortions(share=1.0)(image, VIEWS)
    assert torch.equal(distorted == ABSENT, image == ABSENT)
    there = distorted[distorted != ABSENT]
    assert 0 <= there.min() <= there.max() <= 1 + 1e-5


def test_without_share_or_limits_nothing_changes() -> None:
    image = torch.rand(2, 5, 4, 16, 16)
    assert Distortions()(image, VIEWS) is image
    assert torch.allclose(Distortions(share=1.0, grid=0.0, optical=0.0)(image, VIEWS), image, atol=1e-5)


@pytest.mark.parametrize("limits", [{"share": 2.0}, {"grid": 0.2}, {"optical": -0.1}, {"share": True}])
def test_limits_that_would_fold_a_slice_are_refused(limits: dict) -> None:
    with pytest.raises(InvalidOptionError, match="distortion"):
        Distortions(**limits)
