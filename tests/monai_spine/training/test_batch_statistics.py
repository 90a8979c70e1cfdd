import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_spine.training.batch_statistics import BatchStatistics


def test_statistics_are_those_of_the_batches_and_weights_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_spine.training.batch_statistics._BATCHES", 2)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    network[1].running_mean.fill_(100.0)
    batches = [torch.rand(8, 1, 9, 9) + n for n in range(3)]
    before = {name: value.clone() for name, value in network.named_parameters()}
    validator = Engine(lambda *_: None)
    handler = BatchStatistics(network=network, dataloader=batches, prepare=lambda batch, _: (batch, None))
    handler.attach(validator)
    validator.run([0])
    features = torch.cat([network[0](batch) for batch in batches[:2]])
    assert torch.allclose(network[1].running_mean, features.mean(dim=(0, 2, 3)), atol=1e-5)
    assert network[1].momentum == 0.1
    assert not network.training
    for name, value in network.named_parameters():
        assert torch.equal(value, before[name])


def test_a_network_without_batch_normalisation_sees_no_batch() -> None:
    def never() -> None:
        raise AssertionError("a batch was drawn")

    class Loader:
        def __iter__(self) -> None:
            never()

    network = nn.Linear(2, 2)
    BatchStatistics(network=network, dataloader=Loader(), prepare=lambda batch, _: (batch, None)).renew()
