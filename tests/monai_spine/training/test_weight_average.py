"""The moving average of weights belongs to training's last steps from the first epoch on."""

from copy import deepcopy

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_spine.networks.backbone import Backbone
from monai_spine.networks.layer_freezing import LayerFreezing
from monai_spine.training.weight_average import BatchStatistics, WeightAverage


def average_of(path, momentum, epochs=1):
    """The average after a network's one weight took the values of a path, step by step, from zero."""
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.zero_()
    average = WeightAverage(model=network, momentum=momentum)

    def step(engine, value):
        with torch.no_grad():
            network.weight.fill_(value)

    trainer = Engine(step)
    average.attach(trainer)
    trainer.run(path, max_epochs=epochs)
    return float(average.ema_model.weight), trainer


@pytest.mark.parametrize(("steps", "left"), [(1, 0.1), (5, 1 / 2002), (20, 1e-6)])
def test_the_random_start_is_forgotten_within_a_few_steps(steps, left):
    found, _ = average_of([1.0] * steps, 0.005)
    assert found == pytest.approx(1.0 - left, abs=max(1e-6, left / 100))


def test_the_average_spans_a_tenth_of_the_steps_while_they_are_few():
    found, _ = average_of([float(n) for n in range(1, 101)], 0.005)
    assert 88 < found < 92


def test_many_steps_end_with_the_momentum_that_was_asked_for():
    _, trainer = average_of([1.0] * 100, 0.05, epochs=2)
    assert trainer.state.ema_momentum == pytest.approx(0.05)


def test_the_momentum_follows_from_the_iteration_alone():
    _, whole = average_of([1.0] * 30, 0.005)
    network = torch.nn.Linear(1, 1)
    trainer = Engine(lambda engine, batch: None)
    trainer.state.iteration, trainer.state.epoch, trainer.state.max_epochs, trainer.state.epoch_length = 20, 2, 3, 10
    WeightAverage(model=network, momentum=0.005).attach(trainer)
    trainer.run([1.0] * 10)
    assert trainer.state.iteration == 30
    assert trainer.state.ema_momentum == pytest.approx(whole.state.ema_momentum)


def test_without_momentum_there_is_no_average():
    network = torch.nn.Linear(1, 1)
    average = WeightAverage(network, 0.0)
    trainer = Engine(lambda engine, batch: None)
    average.attach(trainer)
    trainer.run([0])
    assert average.ema_model is network
    assert not average.active


def test_statistics_are_those_of_the_batches_and_weights_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_spine.training.weight_average._BATCHES", 2)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    network[1].running_mean.fill_(100.0)
    batches = [torch.rand(8, 1, 9, 9) + n for n in range(3)]
    before = {name: value.clone() for name, value in network.named_parameters()}
    validator = Engine(lambda *_: None)
    handler = BatchStatistics(
        network=network, learner=network, dataloader=batches, prepare=lambda batch, _: (batch, None)
    )
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
    BatchStatistics(
        network=network, learner=network, dataloader=Loader(), prepare=lambda batch, _: (batch, None)
    ).renew()


@pytest.mark.parametrize("averaged", [True, False])
@pytest.mark.parametrize(("epoch", "kept"), [(1, True), (2, False)])
def test_layers_keep_their_statistics_while_they_are_frozen(epoch: int, kept: bool, averaged: bool) -> None:
    backbone = Backbone("test_resnet", in_channels=1, pixels=[32, 32])
    learner = nn.Sequential(backbone, nn.BatchNorm1d(backbone.features))
    freezing = LayerFreezing(learner, train_layers="frozen", unfreeze={2: "all"})
    freezing.freeze_for(epoch)
    network = deepcopy(learner).requires_grad_(False) if averaged else learner  # as an average of weights is
    before = deepcopy(backbone.state_dict())
    BatchStatistics(
        network=network,
        learner=learner,
        dataloader=[torch.rand(8, 1, 32, 32) + 3],
        prepare=lambda batch, _: (batch, None),
    ).renew()
    same = [torch.equal(value, before[name]) for name, value in network[0].state_dict().items() if "running" in name]
    assert all(same) if kept else not any(same)
    assert network[1].num_batches_tracked == 1
