"""Random numbers of an epoch, whatever was drawn before it."""

import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events, State
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, MapTransform, RandomizableTransform

from monai_spine.training.epoch_start import RedrawEachEpoch, ReseedEachEpoch


class Noise(RandomizableTransform, MapTransform):
    """Adds noise by the three generators that a transform may use."""

    def __init__(self) -> None:
        MapTransform.__init__(self, "x")
        RandomizableTransform.__init__(self)

    def __call__(self, data: dict) -> dict:
        return {"x": torch.tensor([self.R.random(), np.random.random(), float(torch.rand(())), random.random()])}


def epochs_of(numbers: list[int], *, seed: int = 0, workers: int = 0, generator: bool = False) -> list[torch.Tensor]:
    """What some epochs see, after draws that shall not matter."""
    source = torch.Generator().manual_seed(1) if generator else None
    dataset = Dataset([{"x": n} for n in range(4)], Compose([Noise()]))
    loader = DataLoader(dataset, batch_size=1, shuffle=True, num_workers=workers, generator=source)
    trainer = Engine(lambda engine, batch: None)
    ReseedEachEpoch(seed, loader).attach(trainer)
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: seen.append(torch.stack([*(item["x"][0] for item in loader), torch.rand(4)]))
    )
    seen: list[torch.Tensor] = []
    for number in numbers:
        torch.rand(3), random.random(), np.random.random(), next(iter(loader))
        trainer.state = State(epoch=number - 1, iteration=number - 1, max_epochs=number, epoch_length=1)
        trainer.run([0], max_epochs=number, epoch_length=1)
    return seen


@pytest.mark.parametrize("generator", [False, True])
def test_an_epoch_does_not_depend_on_those_before(generator: bool) -> None:
    one, two, three = epochs_of([1, 2, 3], generator=generator)
    assert torch.equal(epochs_of([3], generator=generator)[0], three)
    assert not torch.equal(one, two)


@pytest.mark.slow
def test_neither_do_the_workers_of_a_loader() -> None:
    assert torch.equal(epochs_of([2], workers=2)[0], epochs_of([1, 2], workers=2)[1])


def test_seeds_and_epochs_do_not_add_up() -> None:
    assert not torch.equal(epochs_of([2], seed=0)[0], epochs_of([1], seed=1)[0])
    assert torch.equal(epochs_of([1], seed=-1)[0], epochs_of([1], seed=-1)[0])


def test_each_process_draws_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = epochs_of([1])
    monkeypatch.setattr("ignite.distributed.get_rank", lambda: 1)
    assert not torch.equal(epochs_of([1])[0], first)


class Drawn:
    """Remembers the epochs that it was set to."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


def test_items_are_drawn_for_each_epoch_and_lists_stay_as_they_are() -> None:
    drawn, volumes = Drawn(), ["a", "b"]
    trainer = Engine(lambda engine, batch: None)
    RedrawEachEpoch(drawn).attach(trainer)
    RedrawEachEpoch(volumes).attach(trainer)
    trainer.run([0], max_epochs=3)
    assert drawn.epochs == [1, 2, 3]
    assert volumes == ["a", "b"]
