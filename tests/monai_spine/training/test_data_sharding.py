"""How processes share items; two of them are imitated by their ranks."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from monai_spine.training.data_sharding import (
    ProcessSampler,
    device_ids,
    on_device,
    own_generator,
    own_images,
    own_share,
)


@pytest.fixture
def be_process(monkeypatch: pytest.MonkeyPatch):
    def set_rank(rank: int, count: int) -> None:
        monkeypatch.setattr("ignite.distributed.get_rank", lambda: rank)
        monkeypatch.setattr("ignite.distributed.get_world_size", lambda: count)

    return set_rank


def test_a_single_process_gets_everything() -> None:
    images = TensorDataset(torch.arange(5))
    assert own_share([1, 2, 3]) == [1, 2, 3]
    assert own_images(images, even=True) is images
    assert sorted(ProcessSampler(images)) == [0, 1, 2, 3, 4]


def test_two_processes_together_get_everything(be_process) -> None:
    images, shares, parts, drawn = TensorDataset(torch.arange(6)), [], [], []
    for rank in (0, 1):
        be_process(rank, 2)
        shares += own_share([1, 2, 3, 4])
        parts += list(own_images(images, even=False).indices)
        drawn += list(ProcessSampler(images, seed=1))
    assert sorted(shares) == [1, 2, 3, 4]
    assert sorted(parts) == sorted(drawn) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("even", "lengths"), [(True, [2, 2]), (False, [3, 2])])
def test_parts_are_equal_where_that_is_asked_for(be_process, even: bool, lengths: list[int]) -> None:
    images, counts = TensorDataset(torch.arange(5)), []
    for rank in (0, 1):
        be_process(rank, 2)
        counts.append(len(own_images(images, even=even)))
    assert counts == lengths


def test_each_process_draws_its_own_random_numbers(be_process) -> None:
    drawn = []
    for rank in (0, 1):
        be_process(rank, 2)
        drawn.append(float(torch.rand((), generator=own_generator(7))))
    assert drawn[0] != drawn[1]
    assert drawn[0] == float(torch.rand((), generator=torch.Generator().manual_seed(7)))


def test_a_network_stays_as_it_is_on_a_cpu() -> None:
    network = nn.Linear(1, 1)
    assert on_device(network, torch.device("cpu")) is network
    assert device_ids(torch.device("cpu")) is None
    assert device_ids(torch.device("cuda", 1)) == [torch.device("cuda", 1)]
