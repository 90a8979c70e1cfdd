"""What was kept of an image is never believed after its bytes have changed, whatever its size and time say."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from monai_spine.crops import cache as crop_caches
from monai_spine.crops.augmentation import Augmentation
from monai_spine.images.data import store as stores
from monai_spine.images.data.input_format import ImageForm
from monai_spine.images.data.store import ImageStore
from monai_spine.jobs.storage import copy_to_disk
from monai_spine.transforms.level_crops import LevelCropsd
from tests.monai_spine.images.pictures import write_pictures
from tests.monai_spine.transforms.test_level_crops import VIEWS, write_study

FORM = ImageForm(channels=1, pixels=(12, 16))


def changed(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file's bytes, and keep its size, time and inode."""
    status, content = path.stat(), path.read_bytes()
    with path.open("r+b") as file:
        file.write(change(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (status.st_size, status.st_mtime_ns, status.st_ino)


def crops(study: dict, folder: Path) -> torch.Tensor:
    cut = LevelCropsd(views=VIEWS, augmentation=Augmentation(), cache_dir=folder).set_random_state(5)
    return torch.cat([cut(study)[view.name].flatten() for view in VIEWS])


@pytest.fixture
def study(tmp_path: Path) -> dict:
    """A study whose volumes are not packed, so that other voxels take as many bytes."""
    record = write_study(tmp_path / "study")
    for series_type in ("sagittal_t1", "sagittal_t2", "axial_t2"):
        for n, name in enumerate(record.get(series_type, [])):
            path = Path(name).with_name(f"{series_type}_{n}.nii")
            nib.save(nib.load(name), path)
            record[series_type][n] = str(path)
    return record


def inverted(content: bytes) -> bytes:
    return content[:352] + (-np.frombuffer(content[352:], np.int16)).tobytes()


def test_crops_of_changed_voxels_are_cut_anew(study: dict, tmp_path: Path) -> None:
    path = Path(study["sagittal_t2"][0])
    assert nib.load(path).get_data_dtype() == np.int16
    before = crops(study, tmp_path / "cache")
    changed(path, inverted)
    after = crops(study, tmp_path / "cache")
    assert not torch.allclose(after, before, atol=0.05)
    assert torch.equal(after, crops(study, tmp_path / "fresh"))


def test_later_epochs_read_no_volume_and_moved_data_keep_their_crops(
    study: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_spine.files.SETTLED_NS", -(10**12))  # as if the volumes were old
    expected, read = crops(study, tmp_path / "cache"), []
    own = crop_caches.checksum
    monkeypatch.setattr(crop_caches, "checksum", lambda path: read.append(path) or own(path))
    monkeypatch.setattr(crop_caches.CropCache, "_trimmed", lambda *_: pytest.fail("cut anew"))
    assert torch.equal(crops(study, tmp_path / "cache"), expected)
    assert read == []
    shutil.copytree(tmp_path / "study", tmp_path / "moved")
    moved = {
        key: [path.replace(f"{tmp_path}/study", f"{tmp_path}/moved") for path in value]
        if key in ("sagittal_t1", "sagittal_t2", "axial_t2")
        else value
        for key, value in study.items()
    }
    for _ in range(2):  # the bytes are compared once
        assert torch.equal(crops(moved, tmp_path / "cache"), expected)
        assert len(set(read)) == len(read) > 0


def test_crops_of_volumes_that_have_just_been_written_are_compared_by_their_bytes(
    study: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_spine.files.SETTLED_NS", 10**15)
    expected, read = crops(study, tmp_path / "cache"), []
    own = crop_caches.checksum
    monkeypatch.setattr(crop_caches, "checksum", lambda path: read.append(path) or own(path))
    assert torch.equal(crops(study, tmp_path / "cache"), expected)
    assert read


def test_changed_pictures_are_decoded_anew(tmp_path: Path) -> None:
    records = write_pictures(tmp_path, 4)
    path = Path(records[1]["image"][0]).with_suffix(".bmp")
    Image.open(records[1]["image"][0]).save(path)
    records[1]["image"][0] = str(path)
    before = ImageStore(records, FORM, folder=tmp_path / "cache").read(np.arange(4))
    changed(path, lambda content: content[:-200] + bytes(200))
    after = ImageStore(records, FORM, folder=tmp_path / "cache").read(np.arange(4))
    assert not np.array_equal(after[1], before[1])
    assert np.array_equal(after[1], FORM.read(records[1]["image"]))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_pictures_with_other_times_keep_their_decoded_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_spine.files.SETTLED_NS", -(10**12))
    records = write_pictures(tmp_path, 4)
    expected = ImageStore(records, FORM, folder=tmp_path / "cache").read(np.arange(4))
    monkeypatch.setattr(stores, "_read", lambda *_: pytest.fail("decoded anew"))
    read: list[str] = []
    own = stores.checksum
    monkeypatch.setattr(stores, "checksum", lambda path: read.append(path) or own(path))
    for record in records[:2]:
        os.utime(record["image"][0], ns=(7, 7))
    for _ in range(2):
        assert np.array_equal(ImageStore(records, FORM, folder=tmp_path / "cache").read(np.arange(4)), expected)
    assert sorted(read) == sorted(record["image"][0] for record in records[:2])


@pytest.mark.parametrize("remote", [False, True])
def test_changed_files_of_a_data_set_are_copied_again(tmp_path: Path, remote: bool) -> None:
    source = f"memory://{tmp_path.name}" if remote else str(tmp_path / "source")
    system, root = fsspec.core.url_to_fs(source)
    system.makedirs(root, exist_ok=True)
    for name in "ab":
        system.pipe_file(f"{root}/{name}", b"old")
    copy = copy_to_disk(source, tmp_path / "disk")
    kept = (copy / "b").stat().st_mtime_ns
    if remote:
        system.pipe_file(f"{root}/a", b"new")
    else:
        changed(tmp_path / "source/a", lambda _: b"new")
    copy_to_disk(source, copy)
    assert (copy / "a").read_bytes() == b"new"
    assert (copy / "b").stat().st_mtime_ns == kept
