from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from monai_spine.errors import InvalidOptionError
from monai_spine.images.data import dataset as datasets
from monai_spine.images.data.dataset import (
    EpochSampler,
    ImageBatches,
    class_weights,
    draw_probabilities,
    frequencies,
    scaled,
)
from monai_spine.images.data.input_format import ImageForm
from monai_spine.images.data.store import ImageStore
from tests.monai_spine.images.pictures import write_pictures


def labelled(labels: list) -> list[dict]:
    return [{"image": [str(n)], "label": label} for n, label in enumerate(labels)]


def test_balanced_weights_make_classes_count_equally() -> None:
    images = labelled([0] * 6 + [1] * 3 + [2])
    weights = class_weights("balanced", images, 3)
    assert torch.allclose(weights * torch.tensor([6.0, 3.0, 1.0]), torch.full((3,), 10 / 3))
    drawn = draw_probabilities(images, 3)
    assert drawn[:6].sum() == pytest.approx(1 / 3)
    assert drawn[9] == pytest.approx(1 / 3)


def test_an_image_without_any_label_is_drawn_as_one_of_the_most_frequent_group() -> None:
    mostly_none = draw_probabilities(labelled([[1, 0], [0, 0], [0, 0], [0, 0]]), 2)
    assert mostly_none[0] / mostly_none[1] == pytest.approx((1 - 0.25 - 1e-3) / 0.25)
    mostly_first = draw_probabilities(labelled([[1, 0], [1, 0], [1, 0], [0, 0], [-1, 1]]), 2)
    assert mostly_first[3] == mostly_first[0]
    assert mostly_first[4] / mostly_first[0] == pytest.approx(0.75 / 0.2)


def test_a_class_that_nobody_has_weighs_as_one_of_a_thousandth() -> None:
    assert torch.allclose(class_weights("balanced", labelled([0, 0, 1, 1]), 3), torch.tensor([2 / 3, 2 / 3, 1000 / 3]))
    assert torch.allclose(class_weights("balanced", labelled([[1, 0], [1, 0]]), 2), torch.tensor([1 / 999, 999.0]))


def test_unknown_labels_count_neither_as_present_nor_as_absent() -> None:
    assert frequencies(labelled([0, 1, 1, -1]), 2).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert frequencies(labelled([[-1], [-1]]), 1).tolist() == [0]


def test_explicit_weights_are_used_as_they_are() -> None:
    assert class_weights(None, labelled([0]), 2) is None
    assert class_weights([1, 2.5], labelled([0]), 2).tolist() == [1, 2.5]


def test_with_several_labels_presence_counts_as_much_as_absence() -> None:
    images = labelled([[1, 0], [0, 0], [0, -1], [0, 1]])
    assert torch.allclose(frequencies(images, 2), torch.tensor([0.25, 1 / 3]))
    assert torch.allclose(class_weights("balanced", images, 2), torch.tensor([3.0, 2.0]))
    drawn = draw_probabilities(images, 2)
    assert drawn[0] > drawn[3] > drawn[1]
    with pytest.raises(InvalidOptionError, match="'balanced'"):
        class_weights("fair", images, 2)


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
    batch = ImageBatches(records[1:], ImageStore(records, form)).__getitems__([2, 0])
    assert batch["image"].shape == (2, 3, 12, 16)
    assert batch["image"].permute(0, 2, 3, 1).is_contiguous()
    assert batch["label"].tolist() == [records[3]["label"], records[1]["label"]]
    assert batch["index"].tolist() == [2, 0]
    image = scaled(batch["image"])
    assert image.permute(0, 2, 3, 1).is_contiguous()
    assert image.max() <= 1
    assert image.amax(dim=(1, 2, 3)).min() > 0.5
