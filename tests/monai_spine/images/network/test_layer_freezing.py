from __future__ import annotations

from pathlib import Path

import pytest
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data.dataset import ImageBatches, whole
from monai_spine.images.data.input_format import ImageForm
from monai_spine.images.data.store import ImageStore
from monai_spine.images.network.classifier import ImageClassifier
from monai_spine.images.network.layer_freezing import FrozenFeatures, LayerFreezing
from monai_spine.images.training.augmentation import BatchPreparation
from monai_spine.networks.parameter_groups import parameter_groups
from tests.monai_spine.images.network.classifiers import TINY, classifier
from tests.monai_spine.images.pictures import write_pictures


def changed_by_a_step(network: ImageClassifier, freezing: LayerFreezing) -> set[str]:
    groups = parameter_groups(network, learning_rate=0.1, weight_decay=0.1, trained=freezing.ever_trained)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    torch.optim.AdamW(groups).step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("name", TINY)
def test_frozen_layers_change_neither_weights_nor_statistics(name: str) -> None:
    network = classifier(name)
    assert changed_by_a_step(network, LayerFreezing(network, train_layers="frozen")) == {"head.1.weight", "head.1.bias"}
    network = classifier(name)
    freezing = LayerFreezing(network, train_layers="last: 2")
    changed = {key.removeprefix("backbone.body.") for key in changed_by_a_step(network, freezing)}
    early = {key for block in freezing.blocks[:-2] for key in block}
    late = {key for block in freezing.blocks[-2:] for key in block}
    assert not changed & early
    assert {key for key in late if not key.endswith("k_proj.bias")} & changed
    frozen = [module for module in network.backbone.body.modules() if not module.training]
    assert frozen
    running = [key for key in changed if "running" in key]
    assert not any(key.startswith(("conv1", "bn1", "stem", "conv_stem", "layer1")) for key in running)


def test_every_parameter_belongs_to_one_block() -> None:
    for name in TINY:
        network = classifier(name)
        named = [key for block in LayerFreezing(network).blocks for key in block]
        assert sorted(named) == sorted(key for key, _ in network.backbone.body.named_parameters())


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


def test_the_head_learns_the_same_from_features_that_were_computed_once(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 10)
    dataset = ImageBatches(records, ImageStore(records, ImageForm(pixels=(32, 32))))
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
