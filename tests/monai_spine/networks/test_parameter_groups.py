import pytest
import torch

from monai_spine.networks.level_grader import LevelGrader
from monai_spine.networks.parameter_groups import parameter_groups


def grader() -> LevelGrader:
    torch.manual_seed(0)
    return LevelGrader(views=[2, 1], pixels=[32, 32], backbones=["test_vit", "test_resnet"], backbone_of_view=[0, 1])


@pytest.mark.parametrize("layer_decay", [1.0, 0.7])
def test_every_parameter_stands_in_one_group(layer_decay: float) -> None:
    network = grader()
    groups = parameter_groups(network, learning_rate=1e-3, weight_decay=0.05, layer_decay=layer_decay)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in network.parameters()}
    rates = {group["lr"] for group in groups}
    assert max(rates) == 1e-3
    assert (len(rates) == 1) == (layer_decay == 1.0)
