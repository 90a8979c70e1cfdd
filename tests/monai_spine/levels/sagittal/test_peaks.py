import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from monai_spine.geometry import to_world
from monai_spine.levels.sagittal.landmark_maps import gaussians
from monai_spine.levels.sagittal.peaks import MOST_PEAKS, find_peaks

SIZE = (12, 40, 44)
DEVIATION = np.array([5.0, 4.5, 4.5])


def affine(turn: float, gap: float) -> np.ndarray:
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) * [gap, 4.0, 4.0]
    matrix[:3, 3] = [-30, 15, 80]
    return matrix


@given(
    st.floats(-0.6, 0.6),
    st.floats(3.0, 5.5),
    st.tuples(st.floats(2.5, 8.5), st.floats(5, 34), st.floats(5, 38)),
)
@settings(max_examples=40, deadline=None)
def test_a_gaussian_is_found_where_it_stands(turn: float, gap: float, voxel: tuple[float, float, float]) -> None:
    grid = affine(turn, gap)
    place = to_world(grid, voxel)
    (peak,) = find_peaks(gaussians(place[None], grid, SIZE, DEVIATION).numpy(), grid, threshold=0.3, apart=10.0)
    assert np.linalg.norm(peak.world - place) < 0.5
    assert 0.5 < peak.height <= 1.0


def test_peaks_come_highest_first_and_apart() -> None:
    grid = affine(0.0, 4.0)
    points = to_world(grid, [[4, 10, 10], [4, 10, 14], [4, 25, 30]])
    values = np.max(
        [h * gaussians(p[None], grid, SIZE, DEVIATION).numpy() for h, p in zip((0.9, 0.6, 0.8), points, strict=True)],
        axis=0,
    )
    found = find_peaks(values, grid, threshold=0.3, apart=20.0)
    assert [round(peak.height, 1) for peak in found] == [0.9, 0.8]
    assert len(find_peaks(values, grid, threshold=0.3, apart=8.0)) == 3
    assert find_peaks(values, grid, threshold=0.95, apart=8.0) == []


@pytest.mark.parametrize("voxel", [(0, 20, 20), (11, 20, 20), (5, 0, 20), (5, 39, 43)])
def test_a_peak_at_the_edge_stays_there(voxel: tuple[int, int, int]) -> None:
    grid = affine(0.0, 4.0)
    place = to_world(grid, voxel)
    (peak,) = find_peaks(gaussians(place[None], grid, SIZE, DEVIATION).numpy(), grid, threshold=0.3, apart=10.0)
    assert np.linalg.norm(peak.world - place) < 0.1


def test_of_the_peaks_of_noise_the_highest_are_kept() -> None:
    values = np.random.default_rng(0).random((12, 80, 80))
    found = find_peaks(values, affine(0.0, 4.0), threshold=0.2, apart=5.0)
    all_heights = np.sort(values[values == maximum_filter(values, (3, 3, 3), mode="nearest")])[::-1]
    assert len(found) == MOST_PEAKS
    assert found[0].height == all_heights[0]
    assert found[-1].height > np.median(all_heights)


def test_a_map_without_any_relief_is_read_and_kept_apart() -> None:
    found = find_peaks(np.ones(SIZE), affine(0.0, 4.0), threshold=0.2, apart=14.0)
    assert 1 <= len(found) <= MOST_PEAKS
