import pytest
import torch

from monai_spine.crops.view import ABSENT
from monai_spine.errors import InvalidOptionError
from monai_spine.training.intensity import IntensityChanges

SLICES = (4, 2)
KINDS = ("gamma", "contrast", "bias", "noise", "blur", "ghost")


def image(seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    given = torch.rand(3, 5, 6, 12, 16)
    given[0, 1, 2] = given[2] = ABSENT
    return given


def only(kind: str, limit: float) -> IntensityChanges:
    return IntensityChanges(share=1.0, **{name: limit if name == kind else 0.0 for name in KINDS})


@pytest.mark.parametrize("seed", range(3))
def test_absent_slices_stay_absent_and_others_grey(seed: int) -> None:
    given = image(seed)
    found = IntensityChanges(share=0.7, noise=0.5, bias=2.0)(given, SLICES)
    assert torch.equal(found == ABSENT, given == ABSENT)
    grey = found[given != ABSENT]
    assert grey.isfinite().all()
    assert grey.min() >= 0
    assert grey.max() <= 1


def test_a_share_of_none_and_limits_of_none_change_nothing() -> None:
    given = image()
    assert torch.equal(IntensityChanges()(given, SLICES), given)
    assert torch.allclose(only("noise", 0.0)(given, SLICES), given, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_what_is_there(kind: str) -> None:
    given = image()
    found = only(kind, 0.5)(given, SLICES)
    assert (found - given).abs().amax(dim=(1, 2, 3, 4))[:2].min() > 0.01


@pytest.mark.parametrize(("kind", "same"), [("gamma", True), ("noise", False)])
def test_slices_of_a_view_are_changed_alike(kind: str, same: bool) -> None:
    torch.manual_seed(0)
    given = torch.rand(2, 5, 1, 12, 16).expand(-1, -1, 6, -1, -1)
    found = only(kind, 1.0)(given, SLICES)
    assert torch.allclose(found[:, :, 0], found[:, :, 3]) is same
    assert not torch.allclose(found[:, :, 3], found[:, :, 4])


def test_a_gamma_keeps_the_order_of_grey_values() -> None:
    given = torch.linspace(0, 1, 192).view(1, 1, 1, 12, 16).expand(2, 5, 6, -1, -1)
    found = only("gamma", 1.0)(given, SLICES).flatten(3)
    assert (found.diff(dim=-1) >= 0).all()


def test_a_blur_has_the_variance_asked_for() -> None:
    given = torch.zeros(1, 5, 6, 21, 21)
    given[..., 10, 10] = 1.0
    found = only("blur", 1.0)(given, SLICES)[0, 0, 0]
    torch.manual_seed(0)
    at = torch.arange(21.0) - 10
    rows, columns = ((found.sum(dim=axis) * at**2).sum() / found.sum() for axis in (1, 0))
    assert rows == pytest.approx(float(columns), rel=1e-4)
    assert 0 < rows <= 1
    assert found.sum() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("bad", [{"share": 1.5}, {"blur": 3.0}, {"noise": -0.1}, {"gamma": "much"}])
def test_limits_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(bad))):
        IntensityChanges(**bad)
