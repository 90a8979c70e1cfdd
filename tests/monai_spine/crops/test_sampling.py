"""Samples of a crop: where they lie, and which planes are covered."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from monai_spine.crops import sampling
from monai_spine.crops.pose import CropGrid
from monai_spine.crops.sampling import find_slices, sample
from monai_spine.crops.stack import Stack
from monai_spine.crops.view import Interpolation
from monai_spine.data.coverage import PLANE_LIMIT_MM, coverage_of
from monai_spine.geometry import to_voxel, to_world
from tests.monai_spine.crops.worlds import box_affine, field, field_stack, leaning, stack_of

SIZE, STEP = (60, 70, 13), (1.0, 0.8, 4.0)
SHAPE = (5, 12, 10)
seeds = st.integers(0, 10_000)
places = st.tuples(*[st.floats(-6, 6)] * 3)


def crop(centre, turn=None, step=(1.1, 0.9, 3.0), shape=SHAPE) -> CropGrid:
    return CropGrid(np.array(centre, dtype=float), np.eye(3) if turn is None else turn, step, shape)


def positions(grid: CropGrid) -> np.ndarray:
    """RAS mm of all samples, ``(slices, rows, columns, 3)``."""
    s, r, c = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    return to_world(grid.affine, np.stack([c, r, s], axis=-1))


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0, 20), st.floats(0, 30), places)
def test_a_linear_field_is_reproduced_wherever_the_crop_and_the_volume_lie(
    seed: int, volume_lean: float, crop_lean: float, place: tuple[float, float, float]
) -> None:
    turn = leaning(volume_lean, seed)
    grid = crop(place, turn @ leaning(crop_lean, seed + 1))
    pixels, covered = sample(field_stack(SIZE, STEP, turn), grid, Interpolation.LINEAR)
    assert covered.all()
    assert np.allclose(pixels, field(positions(grid)), atol=2e-4)


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0, 20), st.floats(0, 25), places)
def test_native_planes_lie_in_the_nearest_slice_turned_into_it_by_the_smallest_rotation(
    seed: int, volume_lean: float, crop_lean: float, place: tuple[float, float, float]
) -> None:
    turn = leaning(volume_lean, seed)
    stack = field_stack(SIZE, STEP, turn)
    grid = crop(place, turn @ leaning(crop_lean, seed + 1))
    pixels, covered = sample(stack, grid, Interpolation.NATIVE)
    normal = turn[:, 2]
    smallest = Rotation.align_vectors(normal[None], grid.directions[None, :, 2])[0].as_matrix()
    around = (positions(grid) - grid.centres[:, None, None]) @ smallest.T
    for n, (centre, k) in enumerate(zip(grid.centres, find_slices(stack, grid).nearest, strict=True)):
        beside = normal @ (centre - stack.affine[:3, 3]) - k * STEP[2]
        foot = centre - normal * beside
        assert abs(beside) == pytest.approx(coverage_of(stack.grid, centre).distance, abs=1e-4)
        assert np.allclose(pixels[n], field(foot + around[n]), atol=2e-4)
    assert covered.all()


def sampled_in_full(stack: Stack, grid: CropGrid) -> tuple[np.ndarray, np.ndarray]:
    """Without the fast path: no tilt is small enough."""
    with mock.patch.object(sampling, "_TILT_TOLERANCE", -1.0):
        return sample(stack, grid, Interpolation.LINEAR)


@settings(max_examples=30, deadline=None)
@given(seeds, places, st.floats(0.7, 1.4), st.floats(-40, 40))
def test_the_separable_path_gives_what_the_full_one_gives(
    seed: int, place: tuple[float, float, float], scale: float, rotation: float
) -> None:
    voxels = np.random.default_rng(seed).random(SIZE, dtype=np.float32)
    stack = stack_of(voxels, box_affine(SIZE, STEP, leaning(15, seed)))
    turn = leaning(15, seed) @ Rotation.from_euler("z", rotation, degrees=True).as_matrix()
    grid = crop(np.array(place) * 4, turn, (1.1 * scale, 0.9 * scale, 3.0))
    fast, covered = sample(stack, grid, Interpolation.LINEAR)
    full, also = sampled_in_full(stack, grid)
    assert (covered == also).all()
    assert np.allclose(fast, full, atol=2e-3)


@settings(max_examples=20, deadline=None)
@given(seeds, places, st.floats(0, 30))
def test_a_leaning_crop_is_what_scipy_interpolates(seed: int, place: tuple[float, float, float], lean: float) -> None:
    voxels = np.random.default_rng(seed).random(SIZE, dtype=np.float32)
    stack = stack_of(voxels, box_affine(SIZE, STEP))
    grid = crop(place, leaning(lean, seed), (0.9, 0.9, 3.0))
    expected = map_coordinates(voxels, np.moveaxis(to_voxel(stack.affine, positions(grid)), -1, 0), order=1)
    assert np.allclose(sampled_in_full(stack, grid)[0], expected, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(seeds, st.floats(0, 20), st.tuples(*[st.floats(-60, 60)] * 3))
def test_a_plane_is_covered_exactly_where_the_rule_of_coverage_says_so(
    seed: int, lean: float, place: tuple[float, float, float]
) -> None:
    stack = field_stack(SIZE, STEP, leaning(lean, seed))
    grid = crop(place, leaning(lean, seed) @ leaning(10, seed + 1), shape=(9, 4, 4))
    coverages = [coverage_of(stack.grid, centre) for centre in grid.centres]
    slices = find_slices(stack, grid)
    assert slices.covered.tolist() == [one.shows() for one in coverages]
    assert np.allclose(slices.distance, [one.distance for one in coverages], atol=1e-6)
    pixels, covered = sample(stack, grid)
    assert covered.tolist() == slices.covered.tolist()
    assert not pixels[~covered].any()


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_beyond_the_last_slice_planes_are_shown_for_5_mm_and_no_farther(interpolation: Interpolation) -> None:
    stack = field_stack(SIZE, STEP)
    end = (SIZE[2] - 1) / 2 * STEP[2]
    beyond = np.arange(5) * 3.0 - 6.0
    grid = crop([0, 0, end])
    pixels, covered = sample(stack, grid, interpolation)
    assert covered.tolist() == (beyond <= PLANE_LIMIT_MM).tolist()
    assert np.allclose(pixels[3], sample(stack, crop([0, 0, end], shape=(1, 12, 10)), interpolation)[0][0], atol=1e-5)


@pytest.mark.parametrize("interpolation", list(Interpolation))
@pytest.mark.parametrize("lean", [0.0, 12.0])
def test_pixels_outside_of_the_image_are_0_in_a_plane_that_is_covered(
    interpolation: Interpolation, lean: float
) -> None:
    stack = stack_of(np.ones(SIZE, dtype=np.float32), box_affine(SIZE, STEP))
    pixels, covered = sample(stack, crop([25, 0, 0], leaning(lean, 3), (2.0, 2.0, 3.0)), interpolation)
    assert covered.all()
    assert (pixels[:, :, -1] == 0).all()
    assert np.allclose(pixels[:, 2:-2, :3], 1.0)


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_a_single_slice_is_shown_by_itself(interpolation: Interpolation) -> None:
    stack = field_stack((60, 70, 1), STEP)
    for turn in (np.eye(3), leaning(10, 1)):
        pixels, covered = sample(stack, crop([0, 0, 0], turn), interpolation)
        assert covered.tolist() == [abs(s) * 3.0 * turn[2, 2] <= PLANE_LIMIT_MM for s in range(-2, 3)]
        assert pixels[2].min() > 0


@pytest.mark.parametrize("interpolation", list(Interpolation))
@pytest.mark.parametrize("lean", [0.0, 8.0])
def test_fine_stripes_average_out_instead_of_aliasing(interpolation: Interpolation, lean: float) -> None:
    voxels = np.zeros((120, 120, 9), dtype=np.float32)
    voxels[::2] = 1
    stack = stack_of(voxels, box_affine((120, 120, 9), (0.4, 0.4, 4.0)))
    pixels, _ = sample(stack, crop([0, 0, 0], leaning(lean, 1), (1.6, 1.6, 3.0)), interpolation)
    assert pixels.std() < 0.02
    assert pixels.mean() == pytest.approx(0.5, abs=0.02)


def test_of_two_slices_equally_far_the_one_nearer_to_the_middle_is_taken() -> None:
    stack: Stack = field_stack((60, 70, 12), STEP)
    grid = crop([0, 0, 2.0], step=(1, 1, 4.0), shape=(4, 4, 4))
    assert find_slices(stack, grid).nearest.tolist() == [5, 6, 6, 7]
    grid = crop([0, 0, -2.0], step=(1, 1, 4.0), shape=(4, 4, 4))
    assert find_slices(stack, grid).nearest.tolist() == [4, 5, 5, 6]


@pytest.mark.parametrize("lean", [0.0, 6.0])
def test_a_crop_in_a_stack_of_two_slices_is_interpolated_between_them(lean: float) -> None:
    grid = crop((1.0, 2.0, 0.4), leaning(lean, 3), shape=(1, 12, 10))
    pixels, covered = sample(field_stack((60, 70, 2), STEP, np.eye(3)), grid, Interpolation.LINEAR)
    assert covered.all()
    assert np.allclose(pixels, field(positions(grid)), atol=2e-4)


def test_a_leaning_crop_ends_5_mm_beyond_the_last_slice_of_a_deep_stack_too() -> None:
    size, step = (12, 12, 60), (8.0, 8.0, 1.0)
    end = (size[2] - 1) / 2 * step[2]
    stack = stack_of(np.ones(size, dtype=np.float32), box_affine(size, step))
    grid = crop([0, 0, end + 2], Rotation.from_euler("x", 50, degrees=True).as_matrix())
    pixels, covered = sample(stack, grid, Interpolation.LINEAR)
    beyond = positions(grid)[..., 2] - end
    inside = (beyond <= PLANE_LIMIT_MM) & covered[:, None, None]
    sure = np.abs(beyond - PLANE_LIMIT_MM) > 0.1
    assert inside[sure].any()
    assert (~inside & covered[:, None, None])[sure].any()
    assert np.array_equal(pixels[sure] > 0.5, inside[sure])
