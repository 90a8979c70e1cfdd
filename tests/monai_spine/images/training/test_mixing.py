import pytest
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.images.training.mixing import ImageMixing


def test_shares_of_classes_are_shares_of_images() -> None:
    torch.manual_seed(0)
    image = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    for kind in ({"mixup": 1.0}, {"cutmix": 1.0}):
        for _ in range(20):
            mixed, label = ImageMixing(classes=3, **kind)(image, torch.tensor([2, 0]))
            assert torch.allclose(label.sum(dim=1), torch.ones(2))
            assert torch.allclose(label[:, 0], mixed.mean(dim=(1, 2, 3)), atol=1e-5)
            if "cutmix" in kind:
                assert set(mixed.unique().tolist()) <= {0.0, 1.0}


def test_several_labels_keep_what_is_unknown_unknown() -> None:
    torch.manual_seed(1)
    label = torch.tensor([[1, 0, -1], [1, 1, 1]])
    _, mixed = ImageMixing(classes=3, mixup=1.0)(torch.rand(2, 1, 4, 4), label)
    assert (mixed[:, 2] == -1).all()
    assert torch.equal(mixed[:, 0], torch.ones(2))
    assert torch.allclose(mixed[0, 1] + mixed[1, 1], torch.tensor(1.0))


def test_without_alpha_or_luck_nothing_changes() -> None:
    image, label = torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 2, 0])
    for mixing in (ImageMixing(classes=3), ImageMixing(classes=3, mixup=1.0, probability=0.0)):
        assert mixing(image, label) == (image, label)


def test_the_given_images_stay_as_they_are() -> None:
    image = torch.rand(4, 1, 6, 6)
    before = image.clone()
    ImageMixing(classes=3, cutmix=1.0)(image, torch.tensor([0, 1, 2, 0]))
    assert torch.equal(image, before)


def test_numbers_out_of_range_are_refused() -> None:
    for wrong in ({"mixup": -1.0}, {"cutmix": 1.0, "probability": 2.0}):
        with pytest.raises(InvalidOptionError):
            ImageMixing(classes=2, **wrong)
