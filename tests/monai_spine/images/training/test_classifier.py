"""The classifier's network: shapes, freezing, rates, weights of others."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from monai_spine.errors import InvalidOptionError, InvalidTableError
from monai_spine.images.data.dataset import ImageDataset, whole
from monai_spine.images.data.form import ImageForm
from monai_spine.images.data.store import ImageStore
from monai_spine.images.training.classifier import ImageClassifier
from monai_spine.images.training.frozen_features import FrozenFeatures
from monai_spine.images.training.layer_freezing import LayerFreezing
from monai_spine.images.training.preparation import BatchPreparation
from monai_spine.networks.backbone import timm_names
from monai_spine.networks.parameter_groups import parameter_groups
from tests.monai_spine.images.pictures import write_pictures

WIDTHS = {
    "resnet50": 2048,
    "resnetrs152": 2048,
    "vit_base_patch16_224": 768,
    "tf_efficientnetv2_b1": 1280,
    "convnext_small": 768,
    "convnext_base": 1024,
}
TINY = ("test_resnet", "test_vit", "test_convnext", "test_efficientnet")


def classifier(backbone: str = "test_resnet", **settings) -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(backbone=backbone, **{"pixels": (32, 32), "classes": 3, **settings})


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


def test_features_stand_in_for_their_images() -> None:
    network, image = classifier().eval(), torch.rand(2, 3, 32, 32)
    assert torch.equal(network(network.features(image)), network(image))


def test_a_network_of_several_labels_begins_with_their_frequencies() -> None:
    network = classifier().eval()
    wanted = torch.tensor([0.5, 0.02, 0.9])
    network.start_from(wanted)
    given = network(torch.zeros(1, network.backbone.features)).sigmoid()
    assert torch.allclose(given[0], wanted, atol=1e-5)


def changed_by_a_step(network: ImageClassifier, freezing: LayerFreezing) -> set[str]:
    groups = parameter_groups(network, learning_rate=0.1, weight_decay=0.1, trained=freezing.ever_trained)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    torch.optim.AdamW(groups).step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("name", TINY)
def test_what_is_held_changes_neither_weights_nor_statistics(name: str) -> None:
    network = classifier(name)
    assert changed_by_a_step(network, LayerFreezing(network, train_layers="frozen")) == {"head.1.weight", "head.1.bias"}
    network = classifier(name)
    freezing = LayerFreezing(network, train_layers="last: 2")
    changed = {key.removeprefix("backbone.body.") for key in changed_by_a_step(network, freezing)}
    early = {key for block in freezing.blocks[:-2] for key in block}
    late = {key for block in freezing.blocks[-2:] for key in block}
    assert not changed & early
    assert {key for key in late if not key.endswith("k_proj.bias")} & changed
    held = [module for module in network.backbone.body.modules() if not module.training]
    assert held
    running = [key for key in changed if "running" in key]
    assert not any(key.startswith(("conv1", "bn1", "stem", "conv_stem", "layer1")) for key in running)


def test_every_parameter_belongs_to_one_block() -> None:
    for name in TINY:
        network = classifier(name)
        named = [key for block in LayerFreezing(network).blocks for key in block]
        assert sorted(named) == sorted(key for key, _ in network.backbone.body.named_parameters())


def test_layers_are_unfrozen_by_epoch_and_stand_in_the_optimizer_from_the_start() -> None:
    network = classifier()
    freezing = LayerFreezing(network, train_layers="frozen", unfreeze={"2": "last: 1", "4": "all"})
    assert freezing.ever_trained == {id(parameter) for parameter in network.parameters()}
    learning = []
    for epoch in (1, 2, 3, 4):
        freezing.hold(epoch)
        learning.append(sum(parameter.requires_grad for parameter in network.parameters()))
    assert learning[0] == 2 < learning[1] == learning[2] < learning[3] == len(list(network.parameters()))
    assert not freezing.head_alone


def test_rates_fall_with_depth_and_differ_between_backbone_and_head() -> None:
    network = classifier()
    groups = parameter_groups(network, learning_rate=1.0, weight_decay=0.0, layer_decay=0.5, backbone_rate=0.1)
    rates = sorted({group["lr"] for group in groups})
    assert rates == pytest.approx([0.1 * 0.5**n for n in (4, 3, 2, 1, 0)] + [1.0])


def test_words_for_layers_that_mean_nothing_are_refused() -> None:
    for wrong in ("half", "last: 0", "last: 99", "frozen 2"):
        with pytest.raises(InvalidOptionError, match=r"'all', 'frozen' or 'last: N' with N from 1 to 5"):
            LayerFreezing(classifier(), train_layers=wrong)
    with pytest.raises(InvalidOptionError, match="epochs of unfreeze"):
        LayerFreezing(classifier(), unfreeze={"soon": "all"})
    with pytest.raises(InvalidOptionError, match="would stay random"):
        LayerFreezing(classifier(), train_layers="frozen").check_start(filled=False)


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
    """As a trained one: with layer scales that let the blocks speak."""
    torch.manual_seed(2)
    sizes = [(24, 32, 1), (32, 48, 2), (48, 64, 4), (64, None, 2)]
    theirs = ConvNeXt([CNBlockConfig(*size) for size in sizes], num_classes=7).eval()
    for block in theirs.modules():
        if hasattr(block, "layer_scale"):
            torch.nn.init.uniform_(block.layer_scale, 0.5, 1.0)
    return theirs


def test_torchvisions_convnext_answers_the_same_in_timms() -> None:
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


def test_torchvisions_resnet_answers_the_same_in_our_backbone(tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = torchvision.models.resnet18().eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    network = classifier("resnet18").eval()
    network.take_pretrained(str(tmp_path / "resnet18.pth"))
    theirs.fc = torch.nn.Identity()
    image = torch.rand(1, 3, 64, 64)
    assert torch.allclose(network.backbone(image), theirs(image), atol=1e-4)


def test_the_head_learns_the_same_from_features_that_were_computed_once(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 10)
    dataset = ImageDataset(records, ImageStore(records, ImageForm(pixels=(32, 32))))
    learnt = []
    for once in (False, True):
        network = classifier()
        LayerFreezing(network, train_layers="frozen")
        device = torch.device("cpu")
        features = FrozenFeatures(network, dataset, device=device, batch_size=4) if once else None
        prepare = BatchPreparation(features=features)
        optimizer = torch.optim.SGD(network.head.parameters(), lr=0.1)
        for batch in torch.utils.data.DataLoader(dataset, 5, collate_fn=whole):
            image, label = prepare(batch, device)
            assert (image.ndim == 2) is once
            torch.nn.functional.cross_entropy(network.train()(image), label).backward()
            optimizer.step()
        learnt.append(network.state_dict())
    assert all(torch.allclose(learnt[0][name], learnt[1][name], atol=1e-6) for name in learnt[0])
