import pytest
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.images.training.augmentation import PRESETS, ImageAugmentation, ImageMixing, augmentation


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_no_limit_is_the_identity(images: torch.Tensor) -> None:
    assert PRESETS["none"](images) is images


def test_a_certain_mirror_flips_columns_and_nothing_else(images: torch.Tensor) -> None:
    assert torch.allclose(ImageAugmentation(mirror=1.0)(images), images.flip(-1), atol=1e-5)
    assert torch.allclose(ImageAugmentation(upside_down=1.0)(images), images.flip(-2), atol=1e-5)


def test_quarter_turns_lose_nothing(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    turned = ImageAugmentation(quarter_turns=True)(images)
    turns = [[torch.rot90(image, k, (1, 2)) for k in range(4)] for image in images]
    nearest = [
        min(range(4), key=lambda k: (each[k] - one).abs().max()) for each, one in zip(turns, turned, strict=True)
    ]
    assert len(set(nearest)) > 1
    for each, one, k in zip(turns, turned, nearest, strict=True):
        assert torch.allclose(each[k], one, atol=1e-4)


def test_a_turned_disc_stays_a_disc_in_an_oblong_image() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-2, 2, 80), indexing="ij")
    disc = ((x**2 + y**2) < 0.5).float().expand(8, 1, 40, 80)
    turned = ImageAugmentation(rotation=180)(disc)
    assert (turned - disc).abs().mean() < 0.02


@pytest.mark.parametrize("name", PRESETS)
def test_presets_stay_on_the_scale_leave_their_input_unchanged_and_repeat_with_a_seed(
    name: str, images: torch.Tensor
) -> None:
    before = images.clone()
    torch.manual_seed(3)
    one = PRESETS[name](images)
    torch.manual_seed(3)
    assert torch.equal(PRESETS[name](images), one)
    assert torch.equal(images, before)
    assert one.min() >= 0
    assert one.max() <= 1
    assert one.shape == images.shape
    assert torch.equal(one, images) == (name == "none")


def test_images_of_a_batch_change_each_in_its_own_way() -> None:
    same = torch.rand(1, 1, 16, 16).expand(8, 1, 16, 16)
    changed = PRESETS["medical_grey"](same)
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 8


def test_the_preset_for_bodies_does_not_mirror_them() -> None:
    assert PRESETS["medical_grey"].mirror == PRESETS["medical_grey"].upside_down == 0


def test_drawing_few_changes_leaves_some_images_brighter_and_others_not() -> None:
    torch.manual_seed(0)
    even = torch.full((400, 1, 2, 2), 0.5)
    changed = ImageAugmentation(brightness=0.3, rotation=1e-6, scale=1e-6, noise=1e-9, drawn=1)(even)
    share = ((changed - even).abs().amax(dim=(1, 2, 3)) > 1e-3).float().mean()
    assert 0.15 < share < 0.35


def test_a_hole_is_black_and_at_most_a_quarter() -> None:
    torch.manual_seed(0)
    holed = ImageAugmentation(hole=1.0)(torch.ones(50, 2, 20, 20))
    shares = 1 - holed.mean(dim=(1, 2, 3))
    assert shares.max() <= 0.3
    assert shares.max() > 0.1
    assert set(holed.unique().tolist()) == {0.0, 1.0}


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    assert augmentation("light", rotation=3.0).rotation == 3.0
    with pytest.raises(InvalidOptionError, match="medical_grey"):
        augmentation("heavy")
    with pytest.raises(InvalidOptionError, match="has no limit turn"):
        augmentation("light", turn=1.0)


def test_shares_of_classes_are_shares_of_images() -> None:
    torch.manual_seed(0)
    image = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    for kind in ({"mixup_alpha": 1.0}, {"cutmix_alpha": 1.0}):
        for _ in range(20):
            mixed, label = ImageMixing(classes=3, **kind)(image, torch.tensor([2, 0]))
            assert torch.allclose(label.sum(dim=1), torch.ones(2))
            assert torch.allclose(label[:, 0], mixed.mean(dim=(1, 2, 3)), atol=1e-5)
            if "cutmix_alpha" in kind:
                assert set(mixed.unique().tolist()) <= {0.0, 1.0}


def test_several_labels_keep_what_is_unknown_unknown() -> None:
    torch.manual_seed(1)
    label = torch.tensor([[1, 0, -1], [1, 1, 1]])
    image, mixed = ImageMixing(classes=3, mixup_alpha=1.0)(
        torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)]), label
    )
    assert (mixed[:, 2] == -1).all()
    assert torch.equal(mixed[:, 0], torch.ones(2))
    assert torch.allclose(mixed[:, 1], image.mean(dim=(1, 2, 3)), atol=1e-6)


def test_without_alpha_nothing_changes() -> None:
    image, label = torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 2, 0])
    assert ImageMixing(classes=3)(image, label) == (image, label)


def test_the_given_images_stay_as_they_are() -> None:
    image = torch.rand(4, 1, 6, 6)
    before = image.clone()
    ImageMixing(classes=3, cutmix_alpha=1.0)(image, torch.tensor([0, 1, 2, 0]))
    assert torch.equal(image, before)


def test_numbers_out_of_range_are_refused() -> None:
    for wrong in ({"mixup_alpha": -1.0}, {"cutmix_alpha": -0.1}):
        with pytest.raises(InvalidOptionError):
            ImageMixing(classes=2, **wrong)
