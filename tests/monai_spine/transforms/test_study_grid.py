from pathlib import Path

import numpy as np
import pytest
import torch

from monai_spine.data.volume import Volume
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import grid_affine, to_voxel
from monai_spine.spine import SeriesType
from monai_spine.transforms.study_grid import SliceChannelsd, StudyGridd, sample_series, sample_stack
from tests.cohorts import SHAPE, affine_of, write_volume
from tests.monai_spine.test_geometry import AXIS_ORDERS, affine


def blob(matrix: np.ndarray, shape: tuple[int, int, int], place: np.ndarray) -> Volume:
    """A ramp of ones around the one voxel that lies nearest to a place in RAS mm."""
    voxels = np.zeros(shape, dtype=np.float32)
    voxels[tuple(np.round(to_voxel(matrix, place)).astype(int))] = 1
    return Volume(voxels, matrix)


@pytest.mark.parametrize("matrix", AXIS_ORDERS, ids=range(48))
def test_a_bright_voxel_lands_where_it_lies_in_the_patient_in_all_48_storage_orders(matrix: np.ndarray) -> None:
    stored = affine(matrix, np.array([2.0, 2.0, 2.0]), np.zeros(3))
    middle = stored[:3, :3] @ np.array([7.0, 7, 7])
    place = middle + np.array([6.0, -4.0, 8.0])
    values, _ = sample_stack(blob(stored, (15, 15, 15), place), grid_affine(middle, (15, 15, 15), (2, 2, 2)), (15,) * 3)
    assert np.unravel_index(int(values.argmax()), values.shape) == (7 + 3, 7 - 2, 7 + 4)


def test_a_linear_field_is_sampled_exactly() -> None:
    stored = affine(np.eye(3), np.array([2.0, 3.0, 4.0]), np.array([5.0, 6.0, 7.0]))
    i, j, k = np.meshgrid(*(np.arange(n) for n in (10, 9, 8)), indexing="ij")
    field = (2.0 * i - 3.0 * j + 4.0 * k).astype(np.float32)
    grid = grid_affine([14.0, 18.0, 21.0], (3, 4, 5), (2.0, 2.5, 3.0))
    values, inside = sample_stack(Volume(field, stored), grid, (3, 4, 5))
    world = np.stack(np.meshgrid(*(np.arange(n) for n in (3, 4, 5)), indexing="ij"), -1) @ grid[:3, :3].T + grid[:3, 3]
    voxel = to_voxel(stored, world)
    low, high = np.percentile(field, [1, 99])
    expected = np.clip((voxel @ np.array([2.0, -3.0, 4.0]) - low) / (high - low), 0, 1)
    assert inside.bool().all()
    assert np.allclose(values.numpy(), expected, atol=1e-5)


def test_outside_of_a_stack_nothing_is_covered() -> None:
    volume = Volume(np.ones((4, 4, 4), dtype=np.float32), np.eye(4))
    _, inside = sample_stack(volume, grid_affine([1.5, 1.5, 1.5], (8, 4, 4), (1, 1, 1)), (8, 4, 4))
    assert inside[:2].sum() == 0
    assert inside[6:].sum() == 0
    assert inside[2:6].all()


def test_where_stacks_overlap_the_mean_is_taken_and_covered_once() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(4, 4, 4)
    one, other = Volume(ramp, np.eye(4)), Volume(1 - ramp, np.eye(4))
    grid = grid_affine([1.5, 1.5, 1.5], (4, 4, 4), (1, 1, 1))
    values, covered = sample_series([one, other], grid, (4, 4, 4))
    assert torch.allclose(values[1:3], torch.full((2, 4, 4), 0.5), atol=0.02)
    assert covered.max() == 1


def test_a_series_without_stacks_is_neither_covered_nor_bright() -> None:
    values, covered = sample_series([], np.eye(4), (2, 2, 2))
    assert values.abs().sum() == covered.sum() == 0


def test_fine_stripes_average_out_instead_of_aliasing() -> None:
    stripes = np.zeros((64, 64, 4), dtype=np.float32)
    stripes[:48:2] = 1
    grid = grid_affine([15.75, 15.75, 6.0], (12, 12, 3), (2.0, 2.0, 4.0))
    values, _ = sample_stack(Volume(stripes, np.diag([0.5, 0.5, 4.0, 1.0])), grid, (12, 12, 3))
    assert values[:9].std() < 0.01
    assert values[:9].mean() == pytest.approx(1.0, abs=0.02)


def test_a_study_becomes_intensities_then_coverage_in_the_order_of_the_series(tmp_path: Path) -> None:
    kind = SeriesType.SAGITTAL_T2
    voxels = np.random.default_rng(0).gamma(2, 100, SHAPE).astype(np.int16)
    path = write_volume(tmp_path / "b.nii.gz", voxels, affine_of(kind, (10, 20, 30)))
    image = StudyGridd(size=(6, 8, 10), step=(4, 3, 3))({"study_id": "1", kind.value: [str(path)]})["image"]
    assert image.shape == (6, 6, 8, 10)
    assert image.dtype == torch.float32
    assert image[[0, 2, 3, 5]].abs().sum() == 0
    assert image[4].all()
    assert 0 <= image[1].min() <= image[1].max() <= 1


def test_a_study_without_any_series_is_refused_by_name() -> None:
    with pytest.raises(InvalidVolumeError, match="study 17"):
        StudyGridd(size=(2, 2, 2), step=(1, 1, 1))({"study_id": "17"})


def test_slices_become_channels_series_by_series() -> None:
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 4, 3, 5)))
    channels = SliceChannelsd("image")({"image": image})["image"]
    assert channels.shape == (24, 3, 5)
    assert torch.equal(channels[4:8], image[1])
