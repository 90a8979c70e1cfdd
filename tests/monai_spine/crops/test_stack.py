"""Volumes opened for crops: the voxels that were stored, in any order, and no more memory than allowed."""

import logging
import os
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_spine.crops.stack import StackCache, open_stack, with_usable_volumes
from monai_spine.data.datalist import read_datalist
from monai_spine.errors import InvalidVolumeError, MissingInputError
from monai_spine.geometry import to_voxel, to_world
from monai_spine.spine import SeriesType
from tests.cohorts import SHAPE, affine_of, write_cohort, write_volume
from tests.monai_spine.crops.worlds import leaning
from tests.monai_spine.test_geometry import AXIS_ORDERS, affine

SIZE = (7, 8, 9)


def write(path: Path, voxels: np.ndarray | None = None, matrix: np.ndarray | None = None, **header) -> Path:
    given = np.random.default_rng(0).integers(0, 900, SIZE).astype(np.int16) if voxels is None else voxels
    image = nib.Nifti1Image(given, np.diag([2.0, 3.0, 4.0, 1.0]) if matrix is None else matrix)
    if header:
        image.header.set_slope_inter(header["slope"], header["inter"])
    nib.save(image, path)
    return path


@pytest.mark.parametrize("matrix", AXIS_ORDERS, ids=range(48))
def test_a_voxel_keeps_its_place_and_its_way_back_into_the_file_in_all_orders(
    matrix: np.ndarray, tmp_path: Path
) -> None:
    stored = affine(leaning(20, 2) @ matrix, np.array([2.0, 3.0, 4.0]), np.array([5.0, 6.0, 7.0]))
    voxels = np.arange(np.prod(SIZE), dtype=np.int32).reshape(SIZE)
    stack = open_stack(write(tmp_path / "v.nii", voxels, stored)).turned(leaning(20, 2))
    assert (np.diag(leaning(20, 2).T @ stack.affine[:3, :3]) > 0).all()
    index = (2, 3, 4)
    world = to_world(stack.affine, index)
    place = np.rint(to_voxel(stored, world)).astype(int)
    assert stack.voxels[index] == voxels[tuple(place)]
    assert (stack.stored_box(index, np.array(index) + 1) == [place, place + 1]).all()
    box = stack.stored_box((1, 2, 3), (4, 5, 6))
    part = stack.trimmed(box)
    assert part.start == (1, 2, 3)
    assert np.array_equal(part.block((2, 3, 4), (4, 5, 6)), stack.block((2, 3, 4), (4, 5, 6)))
    with pytest.raises(IndexError, match="not in memory"):
        part.block((0, 3, 4), (4, 5, 6))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_window_is_that_of_the_scaled_values(tmp_path: Path, suffix: str) -> None:
    whole = (slice(None),) * 3
    up, down = (open_stack(write(tmp_path / f"{slope}{suffix}", slope=slope, inter=30.0)) for slope in (2.0, -2.0))
    assert np.allclose(up.block((0, 0, 0), up.shape), 1 - down.block((0, 0, 0), down.shape))
    assert up.voxels[whole].dtype == np.int16


def test_only_packed_volumes_count_and_the_oldest_go_first(tmp_path: Path) -> None:
    packed = [write(tmp_path / f"{n}.nii.gz") for n in range(3)]
    cache = StackCache(int(2.5 * np.prod(SIZE) * 2))
    first = cache.open(packed[0])
    assert cache.open(packed[0]) is first
    cache.open(packed[1])
    cache.open(write(tmp_path / "plain.nii"))
    assert cache.open(packed[0]) is first
    cache.open(packed[2])
    assert cache.open(packed[0]) is first
    assert cache.used_bytes <= cache.most_bytes


def test_a_changed_file_is_opened_anew_and_a_copy_starts_empty(tmp_path: Path) -> None:
    cache = StackCache(10**6)
    path = write(tmp_path / "a.nii.gz")
    first = cache.open(path)
    os.utime(path, ns=(5, 5))
    assert cache.open(path) is not first
    assert pickle.loads(pickle.dumps(cache)).used_bytes == 0 < cache.used_bytes


def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.nii"):
        open_stack(tmp_path / "none.nii")
    with pytest.raises(InvalidVolumeError, match=r"flat\.nii: expected an image"):
        open_stack(write(tmp_path / "flat.nii", np.ones(SIZE, dtype=np.int16)))
    for name in ("short.nii", "short.nii.gz"):
        path = write(tmp_path / name)
        path.write_bytes(path.read_bytes()[:-150])
        with pytest.raises(InvalidVolumeError, match=f"{name}: expected a NIfTI volume, but the file is damaged"):
            open_stack(path)
    with pytest.raises(InvalidVolumeError, match="expected numbers"):
        open_stack(write(tmp_path / "complex.nii", np.ones(SIZE, dtype=np.complex64)))
    for wrong in (np.nan, np.inf):
        voxels = np.random.default_rng(0).random(SIZE, dtype=np.float32)
        voxels[1, 2, 3] = wrong
        with pytest.raises(InvalidVolumeError, match="expected finite"):
            open_stack(write(tmp_path / "odd.nii", voxels))


def test_a_volume_with_nan_is_left_out_with_a_warning_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = read_datalist(write_cohort(tmp_path, studies=2))
    (bad,) = first["sagittal_t2"]
    voxels = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    voxels[3, 3, 3] = np.nan
    write_volume(Path(bad), voxels, affine_of(SeriesType.SAGITTAL_T2))
    with caplog.at_level(logging.WARNING):
        usable = with_usable_volumes([first, second])
    assert usable[0]["sagittal_t2"] == []
    assert usable[0]["sagittal_t1"] == first["sagittal_t1"]
    assert usable[1] == second
    assert first["study_id"] in caplog.text
    assert Path(bad).name in caplog.text
