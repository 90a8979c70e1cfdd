"""The classifier's network: shapes, freezing, rates, weights of others."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from monai_spine.errors import InvalidTableError
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.networks.backbone import timm_names
from monai_spine.networks.layer_freezing import LayerFreezing
from tests.monai_spine.images.network.classifiers import classifier

WIDTHS = {
    "resnet50": 2048,
    "resnetrs152": 2048,
    "vit_base_patch16_224": 768,
    "tf_efficientnetv2_b1": 1280,
    "convnext_small": 768,
    "convnext_base": 1024,
}


@pytest.mark.parametrize("name", WIDTHS)
def test_the_named_backbones_take_any_number_of_channels(name: str) -> None:
    with torch.device("meta"):
        network = ImageClassifier(backbone=name, channels=2, pixels=(224, 224), classes=5, hidden=[16])
        assert network.backbone.features == WIDTHS[name]
        assert network(torch.rand(2, 2, 224, 224)).shape == (2, 5)
        assert LayerFreezing(network, train_layers="last: 3").blocks


def test_hidden_layers_are_followed_by_relu_and_dropout_only_works_in_training() -> None:
    network = classifier(hidden=[8, 4], dropout=0.5)
    assert [type(layer).__name__ for layer in network.head] == [*("Dropout", "Linear", "ReLU") * 2, "Dropout", "Linear"]
    features = torch.rand(2, network.backbone.features)
    assert torch.equal(network.eval()(features), network(features))
    assert not torch.equal(network.train()(features), network(features))


def test_features_give_the_same_logits_as_their_images() -> None:
    network, image = classifier().eval(), torch.rand(2, 3, 32, 32)
    assert torch.equal(network(network.features(image)), network(image))


def test_a_network_of_several_labels_begins_with_their_frequencies() -> None:
    network = classifier().eval()
    frequencies = torch.tensor([0.5, 0.02, 0.9])
    network.start_from(frequencies)
    probabilities = network(torch.zeros(1, network.backbone.features)).sigmoid()
    assert torch.allclose(probabilities[0], frequencies, atol=1e-5)


def test_a_file_for_other_classes_is_refused_with_both_numbers(tmp_path: Path) -> None:
    torch.save(classifier(classes=9).state_dict(), tmp_path / "nine.pt")
    with pytest.raises(InvalidTableError, match="9 classes, but 3"):
        classifier().take_weights(tmp_path / "nine.pt")


def test_the_backbone_of_a_classifier_for_other_classes_is_a_start(tmp_path: Path) -> None:
    other = classifier(classes=9)
    torch.save(other.state_dict(), tmp_path / "nine.pt")
    network = ImageClassifier(backbone="test_resnet", pixels=(32, 32), classes=3)
    network.take_pretrained(str(tmp_path / "nine.pt"))
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(network.eval().features(image), other.eval().features(image))


def torchvisions_convnext() -> ConvNeXt:
    """As a trained one: with layer scales that let the blocks contribute."""
    torch.manual_seed(2)
    sizes = [(24, 32, 1), (32, 48, 2), (48, 64, 4), (64, None, 2)]
    theirs = ConvNeXt([CNBlockConfig(*size) for size in sizes], num_classes=7).eval()
    for block in theirs.modules():
        if hasattr(block, "layer_scale"):
            torch.nn.init.uniform_(block.layer_scale, 0.5, 1.0)
    return theirs


def test_torchvisions_convnext_has_the_same_outputs_in_timms() -> None:
    theirs = torchvisions_convnext()
    ours = timm.models.ConvNeXt(depths=(1, 2, 4, 2), dims=(24, 32, 48, 64), num_classes=7).eval()
    ours.load_state_dict(timm_names(theirs.state_dict()))
    image = torch.rand(2, 3, 64, 64)
    assert torch.allclose(ours(image), theirs(image), atol=1e-5)
    assert theirs(image).std() > 0.1


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_torchvisions_convnext_fills_our_backbone(ending: str, tmp_path: Path) -> None:
    weights, path = torchvisions_convnext().state_dict(), tmp_path / f"convnext.{ending}"
    (save_file if ending == "safetensors" else torch.save)(weights, path)
    network = classifier("test_convnext")
    network.take_pretrained(str(path))
    assert torch.equal(network.backbone.body.stages[2].blocks[3].gamma, weights["features.5.3.layer_scale"].flatten())
    assert torch.equal(network.backbone.body.head.norm.weight, weights["classifier.0.weight"])


def test_torchvisions_resnet_has_the_same_outputs_in_our_backbone(tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = torchvision.models.resnet18().eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    network = classifier("resnet18").eval()
    network.take_pretrained(str(tmp_path / "resnet18.pth"))
    theirs.fc = torch.nn.Identity()
    image = torch.rand(1, 3, 64, 64)
    assert torch.allclose(network.backbone(image), theirs(image), atol=1e-4)
