from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_spine.errors import InvalidOptionError
from monai_spine.networks.backbone import Backbone
from monai_spine.networks.layer_freezing import LayerFreezing
from monai_spine.networks.level_grader import LevelGrader
from monai_spine.networks.parameter_groups import parameter_groups
from tests.monai_spine.images.network.classifiers import TINY, classifier


def changed_by_a_step(network: nn.Module, freezing: LayerFreezing, shape: tuple[int, ...] = (4, 3, 32, 32)) -> set[str]:
    groups = parameter_groups(network, learning_rate=0.1, weight_decay=0.1, trained=freezing.ever_trained)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    network(torch.rand(shape)).square().sum().backward()
    torch.optim.AdamW(groups).step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("name", TINY)
def test_frozen_layers_change_neither_weights_nor_statistics(name: str) -> None:
    network = classifier(name)
    assert changed_by_a_step(network, LayerFreezing(network, train_layers="frozen")) == {"head.1.weight", "head.1.bias"}
    network = classifier(name)
    freezing = LayerFreezing(network, train_layers="last: 2")
    changed = {key.removeprefix("backbone.body.") for key in changed_by_a_step(network, freezing)}
    early = {key for block in freezing.blocks[0][:-2] for key in block}
    late = {key for block in freezing.blocks[0][-2:] for key in block}
    assert not changed & early
    assert {key for key in late if not key.endswith("k_proj.bias")} & changed
    frozen = [module for module in network.backbone.body.modules() if not module.training]
    assert frozen
    running = [key for key in changed if "running" in key]
    assert not any(key.startswith(("conv1", "bn1", "stem", "conv_stem", "layer1")) for key in running)


def test_every_parameter_belongs_to_one_block() -> None:
    for name in TINY:
        network = classifier(name)
        named = [key for block in LayerFreezing(network).blocks[0] for key in block]
        assert sorted(named) == sorted(key for key, _ in network.backbone.body.named_parameters())


@pytest.mark.parametrize(("layers", "kept"), [("frozen", 0), ("last: 1", 1)])
def test_each_backbone_of_a_grader_is_frozen_and_the_rest_learns(layers: str, kept: int) -> None:
    torch.manual_seed(0)
    network = LevelGrader(views=[2, 1], pixels=[32, 32], backbones=["test_vit", "test_resnet"], backbone_of_view=[0, 1])
    freezing = LayerFreezing(network, train_layers=layers)
    changed = changed_by_a_step(network, freezing, (2, 5, 3, 32, 32))
    assert any(not name.startswith("backbones.") for name in changed)
    for number, blocks in enumerate(freezing.blocks):
        beginning = f"backbones.{number}.body."
        inside = {name.removeprefix(beginning) for name in changed if name.startswith(beginning)}
        assert bool(inside) == bool(kept)
        assert not inside & {name for block in blocks[: len(blocks) - kept] for name in block}


def test_layers_are_unfrozen_by_epoch_and_are_in_the_optimizer_from_the_start() -> None:
    network = classifier()
    freezing = LayerFreezing(network, train_layers="frozen", unfreeze={"2": "last: 1", "4": "all"})
    assert freezing.ever_trained == {id(parameter) for parameter in network.parameters()}
    learning = []
    for epoch in (1, 2, 3, 4):
        freezing.freeze_for(epoch)
        learning.append(sum(parameter.requires_grad for parameter in network.parameters()))
    assert learning[0] == 2 < learning[1] == learning[2] < learning[3] == len(list(network.parameters()))
    assert not freezing.head_alone


@pytest.mark.parametrize("name", TINY)
def test_a_layer_that_was_frozen_keeps_its_statistics_when_it_learns(name: str) -> None:
    network = classifier(name)
    freezing = LayerFreezing(network, train_layers="frozen", unfreeze={2: "all"})
    freezing.freeze_for(2)
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        learning, still = network.train()(images), network.eval()(images)
    torch.testing.assert_close(learning, still)  # what the head has learnt holds in the first step after unfreezing
    changed = changed_by_a_step(network, freezing)
    assert any(key.startswith("backbone.body.") for key in changed)
    assert not any("running" in key for key in changed)


def test_a_layer_that_was_frozen_drops_paths_when_it_learns() -> None:
    torch.manual_seed(0)
    network = Backbone("test_vit", in_channels=3, pixels=[32, 32], drop_path=0.5)
    freezing = LayerFreezing(network, train_layers="frozen", unfreeze={2: "all"})
    images = torch.rand(4, 3, 32, 32)
    for epoch, dropped in ((1, False), (2, True)):
        freezing.freeze_for(epoch)
        network.train()
        with torch.no_grad():
            assert torch.equal(network(images), network(images)) is not dropped


def test_rates_fall_with_depth_and_differ_between_backbone_and_head() -> None:
    network = classifier()
    groups = parameter_groups(network, learning_rate=1.0, weight_decay=0.0, layer_decay=0.5, backbone_rate=0.1)
    rates = sorted({group["lr"] for group in groups})
    assert rates == pytest.approx([0.1 * 0.5**n for n in (4, 3, 2, 1, 0)] + [1.0])


def test_unknown_choices_of_layers_are_refused() -> None:
    for wrong in ("half", "last: 0", "last: 99", "frozen 2"):
        with pytest.raises(InvalidOptionError, match=r"'all', 'frozen' or 'last: N' with N from 1 to 5"):
            LayerFreezing(classifier(), train_layers=wrong)
    with pytest.raises(InvalidOptionError, match="epochs of unfreeze"):
        LayerFreezing(classifier(), unfreeze={"soon": "all"})
    with pytest.raises(InvalidOptionError, match="would stay random"):
        LayerFreezing(classifier(), train_layers="frozen").check_start(filled=False)
