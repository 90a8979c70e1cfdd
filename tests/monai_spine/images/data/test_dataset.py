from collections import Counter
from pathlib import Path

import pytest

from monai_spine.images.data import dataset as datasets
from monai_spine.images.data.dataset import EpochSampler, ImageDataset, scaled
from monai_spine.images.data.form import ImageForm
from monai_spine.images.data.store import ImageStore
from tests.monai_spine.images.pictures import write_pictures


def records(count: int, rare: int = 0) -> list[dict]:
    return [{"image": [str(n)], "label": int(n < rare)} for n in range(count)]


def test_an_epoch_has_every_image_once_in_an_order_of_its_own() -> None:
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
        monkeypatch.setattr(datasets.idist, "get_world_size", lambda: 3)
        monkeypatch.setattr(datasets.idist, "get_rank", lambda rank=rank: rank)
        seen.append(list(EpochSampler(records(20), classes=2)))
    assert {len(share) for share in seen} == {7}
    counts = Counter(n for share in seen for n in share)
    assert set(counts) == set(range(20))
    assert sum(counts.values()) == 21


def test_balanced_drawing_shows_classes_equally_often() -> None:
    sampler = EpochSampler(records(2000, rare=100), classes=2, balanced=True)
    rare = sum(n < 100 for n in sampler)
    assert 900 < rare < 1100


def test_a_batch_has_channels_last_in_memory_also_as_floating_point(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 4)
    form = ImageForm(channels=3, pixels=(12, 16))
    batch = ImageDataset(records[1:], ImageStore(records, form)).__getitems__([2, 0])
    assert batch["image"].shape == (2, 3, 12, 16)
    assert batch["image"].permute(0, 2, 3, 1).is_contiguous()
    assert batch["label"].tolist() == [records[3]["label"], records[1]["label"]]
    assert batch["index"].tolist() == [2, 0]
    image = scaled(batch["image"])
    assert image.permute(0, 2, 3, 1).is_contiguous()
    assert image.max() <= 1
    assert image.amax(dim=(1, 2, 3)).min() > 0.5
