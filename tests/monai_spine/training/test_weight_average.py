"""The moving average of weights belongs to training's last steps from the first epoch on."""

import pytest
import torch
from ignite.engine import Engine

from monai_spine.training.weight_average import WeightAverage


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
