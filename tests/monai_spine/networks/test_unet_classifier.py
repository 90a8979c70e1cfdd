import pytest
import torch

from monai_spine.networks.unet_classifier import UNetClassifier
from monai_spine.scoring.competition import level_prior

SPATIAL = {2: (32, 48), 3: (16, 32, 48)}


def network(dims: int, **options: object) -> UNetClassifier:
    torch.manual_seed(0)
    settings = {"channels": (4, 8, 16), "strides": (2, 2, 2), **options}
    return UNetClassifier(spatial_dims=dims, in_channels=6, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("up_path", [False, True])
def test_every_form_gives_25_by_3_logits_and_a_gradient_everywhere(dims: int, up_path: bool) -> None:
    net = network(dims, up_path=up_path)
    logits = net(torch.rand(2, 6, *SPATIAL[dims]))
    assert logits.shape == (2, 25, 3)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("up_path", [False, True])
def test_odd_sizes_fit(up_path: bool) -> None:
    assert network(2, up_path=up_path)(torch.rand(1, 6, 37, 51)).shape == (1, 25, 3)


def test_the_way_up_pools_the_finest_features() -> None:
    assert network(2, up_path=True).head.in_features == 4
    assert network(2).head.in_features == 16


def test_started_from_a_prior_it_answers_the_prior_whatever_the_image() -> None:
    rows = torch.tensor(level_prior(torch.randint(0, 3, (50, 25)).numpy(), 1.0))
    net = network(3).eval()
    net.start_from(rows)
    answer = net(torch.rand(2, 6, *SPATIAL[3])).softmax(-1)
    assert torch.allclose(answer, rows.float().expand(2, -1, -1), atol=0.02)


def test_with_positions_it_can_tell_where_a_feature_is_and_without_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.zeros(1, 6, 64, 64)
    image[..., 28:36, 28:36] = 1
    moved = torch.roll(image, 8, dims=3)
    gaps = []
    for _ in range(2):
        net = network(2, dropout=0.0).eval()
        gaps.append((net(image) - net(moved)).abs().max().item())
        monkeypatch.setattr("monai_spine.networks.unet_classifier._AddPositions", lambda *_: torch.nn.Identity())
    assert gaps[1] < gaps[0] / 10


@pytest.mark.parametrize(
    ("options", "message"), [({"strides": (2, 2)}, "as many strides"), ({}, "spatial_dims 2 or 3")]
)
def test_what_cannot_be_built_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(2 if options else 4, **options)
