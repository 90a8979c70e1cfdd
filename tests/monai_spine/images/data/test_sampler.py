from collections import Counter

import pytest

from monai_spine.images.data import sampler as samplers
from monai_spine.images.data.sampler import EpochSampler


def records(count: int, rare: int = 0) -> list[dict]:
    return [{"image": [str(n)], "label": int(n < rare)} for n in range(count)]


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own() -> None:
    sampler = EpochSampler(records(50), classes=2)
    orders = []
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0] != orders[1]
    again = EpochSampler(records(50), classes=2)
    again.set_epoch(2)
    assert list(again) == orders[1]


def test_processes_share_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for rank in range(3):
        monkeypatch.setattr(samplers.idist, "get_world_size", lambda: 3)
        monkeypatch.setattr(samplers.idist, "get_rank", lambda rank=rank: rank)
        seen.append(list(EpochSampler(records(20), classes=2)))
    assert {len(share) for share in seen} == {7}
    counts = Counter(n for share in seen for n in share)
    assert set(counts) == set(range(20))
    assert sum(counts.values()) == 21


def test_balanced_drawing_shows_classes_equally_often() -> None:
    sampler = EpochSampler(records(2000, rare=100), classes=2, balanced=True)
    rare = sum(n < 100 for n in sampler)
    assert 900 < rare < 1100
