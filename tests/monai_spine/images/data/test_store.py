from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_spine.errors import InvalidImageError
from monai_spine.images.data import store as stores
from monai_spine.images.data.input_format import ImageForm
from monai_spine.images.data.store import ImageStore
from tests.monai_spine.images.pictures import write_pictures

FORM = ImageForm(channels=1, pixels=(12, 16))


def test_the_store_holds_what_the_files_hold(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 5)
    kept, direct = ImageStore(records, FORM, folder=tmp_path / "cache"), ImageStore(records, FORM)
    positions = np.array([3, 0, 3])
    assert np.array_equal(kept.read(positions), direct.read(positions))
    assert np.array_equal(kept.read(positions)[1], FORM.read(records[0]["image"]))
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".npy"]


def test_images_are_decoded_once_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = write_pictures(tmp_path, 4)
    ImageStore(records, FORM, folder=tmp_path / "cache").open()
    decoded = []
    monkeypatch.setattr(stores, "_read", lambda record, form: decoded.append(record) or form.read(record["image"]))
    again = ImageStore(records, FORM, folder=tmp_path / "cache")
    again.open()
    assert decoded == []
    Image.fromarray(np.full((24, 24), 9, np.uint8)).save(records[2]["image"][0])
    changed = ImageStore(records, FORM, folder=tmp_path / "cache").read(np.arange(4))
    assert len(decoded) == 4
    assert changed[2].max() == 9
    assert not np.array_equal(changed[2], again.read(np.arange(4))[2])


def test_one_image_of_16_bits_keeps_its_bits_among_others(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 3)
    Image.fromarray(np.full((24, 24), 1000, np.uint16)).save(records[2]["image"][0])
    stored = ImageStore(records, FORM, folder=tmp_path / "cache").read(np.arange(3))
    assert stored.dtype == np.float16
    assert np.allclose(stored[2, 4, 8], 1000 / 257, rtol=1e-3)
    assert np.array_equal(stored[0], FORM.read(records[0]["image"]))


def test_all_images_that_cannot_be_read_are_counted_and_nothing_is_left(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 9)
    for record in records[:7]:
        Path(record["image"][0]).write_bytes(b"")
    with pytest.raises(InvalidImageError, match=r"7 of 9 images cannot be read: .*000\.png.* and 2 more"):
        ImageStore(records, FORM, folder=tmp_path / "cache").open()
    assert list((tmp_path / "cache").iterdir()) == []


def test_unreadable_images_can_be_skipped(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 3)
    Path(records[1]["image"][0]).write_bytes(b"no image")
    store = ImageStore(records, FORM, skip_unreadable=True)
    images = store.read(np.arange(3))
    assert (images[1] == 0).all()
    assert images[0].any()
    assert set(store.refused) == {tuple(records[1]["image"])}
    with pytest.raises(InvalidImageError):
        ImageStore(records, FORM).read(np.arange(3))


def test_a_store_beyond_the_limit_is_not_written(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 3)
    store = ImageStore(records, FORM, folder=tmp_path / "cache", cache_gb=3 * 12 * 16 / 1e9 * 0.9)
    assert store.read(np.arange(2)).shape == (2, 12, 16, 1)
    assert not (tmp_path / "cache").exists()
