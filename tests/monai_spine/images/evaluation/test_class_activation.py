import numpy as np
import pytest
import torch
from monai.visualize import GradCAM

from monai_spine.errors import InvalidOptionError
from monai_spine.images.evaluation.class_activation import activation_maps, overlay
from monai_spine.images.evaluation.contact_sheet import displayed
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.networks.feature_map import as_map


def network(backbone: str, side: int = 64) -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(backbone=backbone, channels=3, pixels=(side, side), classes=3)


def test_the_map_of_a_convolutional_network_is_monais() -> None:
    net, images = network("test_resnet"), torch.rand(2, 3, 64, 64)
    net.eval()
    classes = torch.tensor([0, 1])
    maps = activation_maps(net, images, classes)
    theirs = GradCAM(net, "backbone.body.layer4", postprocessing=lambda maps: maps)
    for n in range(2):
        expected = theirs(images[n : n + 1], class_idx=int(classes[n]))[0, 0]
        expected = torch.as_tensor(expected).detach()
        if expected.max() > 0:
            assert torch.allclose(maps[n], expected / expected.max(), atol=1e-4)


@pytest.mark.parametrize("backbone", ["test_convnext", "test_efficientnet", "test_vit"])
def test_maps_of_every_family_of_backbones_have_the_size_of_the_images(backbone: str) -> None:
    net, images = network(backbone), torch.rand(2, 3, 64, 64)
    maps = activation_maps(net, images, torch.tensor([0, 2]))
    assert maps.shape == (2, 64, 64)
    assert maps.min() >= 0
    assert maps.amax(dim=(1, 2)).tolist() == pytest.approx([1, 1])
    assert maps.std() > 0.01


def test_the_network_is_left_as_it_was() -> None:
    net = network("test_resnet")
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    net.head[-1].weight.requires_grad_(True)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    activation_maps(net, torch.rand(1, 3, 64, 64), torch.tensor([1]))
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_the_map_of_tokens_lies_where_their_patches_are() -> None:
    net = network("test_vit")
    last = net.backbone.body.blocks[-1]
    width = last.norm1.normalized_shape[0]
    tokens = torch.zeros(1, 17, width)
    tokens[0, 1 + 4 * 2 + 3] = 1.0  # third row, fourth column
    maps = as_map(net.backbone.body, tokens, "vit")
    assert maps.shape == (1, width, 4, 4)
    assert (maps[0, 0] == 1).nonzero().tolist() == [[2, 3]]


def test_channels_last_are_moved_and_features_without_positions_are_refused() -> None:
    class Swin:
        output_fmt = "NHWC"

    assert as_map(Swin(), torch.zeros(2, 3, 4, 96), "swin").shape == (2, 96, 3, 4)
    with pytest.raises(InvalidOptionError, match="feature map of pit"):
        as_map(object(), torch.zeros(2, 1, 96), "pit")


def test_an_overlay_changes_an_image_only_where_the_map_is_positive() -> None:
    image, activation = np.random.default_rng(0).random((1, 6, 8)), np.zeros((6, 8))
    activation[2, 5] = 1.0
    changed = (overlay(image, activation) != displayed(image)).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[2, 5]]
