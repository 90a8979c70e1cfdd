import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_spine.data.volume import open_volume, read_volume
from monai_spine.errors import InvalidVolumeError, MissingInputError
from tests.cohorts import write_volume


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_volume(tmp_path / "a.nii.gz", np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1, 2, 3, 1.0]))


def test_voxels_and_affine_are_nibabels(path: Path) -> None:
    volume, image = read_volume(path), nib.load(path)
    assert np.array_equal(volume.voxels, image.get_fdata())
    assert np.array_equal(volume.affine, image.affine)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"gone\.nii"):
        read_volume(tmp_path / "gone.nii")


def test_a_file_cut_short_is_refused(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 9999, (30, 30, 30)).astype(np.int16)
    write_volume(path, noise, np.eye(4))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InvalidVolumeError, match="damaged or cut short"):
        read_volume(path)


def test_an_uncompressed_file_cut_short_is_refused(path: Path) -> None:
    short = path.with_name("short.nii")
    short.write_bytes(gzip.decompress(path.read_bytes())[:-10])
    with pytest.raises(InvalidVolumeError, match="damaged or cut short"):
        read_volume(short)


@pytest.mark.parametrize(
    "content", [b"", b"rubbish" * 100, gzip.compress(b"rubbish" * 100)], ids=["empty", "rubbish", "gzip"]
)
def test_what_is_no_nifti_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidVolumeError, match="expected a NIfTI volume"):
        open_volume(path)


def test_a_4d_file_is_refused_with_its_shape(path: Path) -> None:
    write_volume(path, np.zeros((2, 3, 4, 5), dtype=np.int16), np.eye(4))
    with pytest.raises(InvalidVolumeError, match=r"\(2, 3, 4, 5\)"):
        open_volume(path)


def test_a_flat_affine_is_refused(path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((2, 3, 4), dtype=np.int16), None)
    image.header.set_sform(np.diag([1, 1, 0, 1.0]), code=1)
    nib.save(image, path)
    with pytest.raises(InvalidVolumeError, match="determinant"):
        open_volume(path)


def test_voxels_that_are_not_numbers_are_refused(path: Path) -> None:
    write_volume(path, np.full((2, 3, 4), np.nan, dtype=np.float32), np.eye(4))
    with pytest.raises(InvalidVolumeError, match="finite"):
        read_volume(path)
