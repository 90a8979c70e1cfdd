from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from monai_spine.geometry import grid_affine, spacing, to_voxel, to_world
from monai_spine.levels.sagittal.landmark_maps import MOST_LANDMARKS, UNKNOWN, LandmarkLoss, LandmarkMapsd
from monai_spine.levels.sagittal.maps import LANDMARKS, REGIONS, gaussians, map_affine
from monai_spine.levels.sagittal.metrics import predicted_points, true_landmarks
from monai_spine.levels.sagittal.peaks import MOST_PEAKS, find_peaks

AFFINE = grid_affine([0, 0, 0], (8, 48, 49), (4.0, 2.0, 2.0))


def record() -> dict:
    return {
        "image": np.zeros((1, 8, 48, 49), np.float32),
        "affine": AFFINE,
        "canal": np.array([[2.0, 3.0, 30.0], [1.0, 0.0, -5.0]]),
        "foramen": np.zeros((0, 3)),
        "lumbosacral": np.array([[1.0, 0.0, -5.0]]),
    }


def test_maps_are_highest_at_their_points() -> None:
    made = LandmarkMapsd()(record())
    maps = made["label"]
    assert maps.shape == (4, 8, 24, 25)
    grid = map_affine(AFFINE)
    for name, point in (("canal", [1.0, 0.0, -5.0]), ("lumbosacral", [1.0, 0.0, -5.0])):
        nearest = tuple(np.rint(to_voxel(grid, point)).astype(int))
        assert maps[(LANDMARKS.index(name), *nearest)] > 0.8
    assert not maps[LANDMARKS.index("foramen")].any()
    assert (maps[-1] == -1).all()


def test_landmarks_are_a_table_of_one_size() -> None:
    table = LandmarkMapsd()(record())["landmarks"]
    assert table.shape == (len(LANDMARKS), MOST_LANDMARKS, 3)
    assert np.isfinite(table).all(axis=2).sum(axis=1).tolist() == [2, 0, 1]


def test_regions_stand_under_the_same_voxels() -> None:
    data = record()
    data["label"] = np.zeros((1, 8, 48, 49), np.uint8)
    data["label"][0, 3, 10, 20] = 4
    assert torch.argwhere(LandmarkMapsd()(data)["label"][-1] == 4).tolist() == [[3, 5, 10]]


def test_the_loss_is_least_at_the_truth_and_leaves_unknown_regions_out() -> None:
    torch.manual_seed(0)
    target = LandmarkMapsd()(record())["label"][None]
    right = torch.logit(target[:, : len(LANDMARKS)].clamp(1e-4, 1 - 1e-4))
    regions = torch.zeros(1, len(REGIONS), *target.shape[2:])
    loss = LandmarkLoss()
    best = loss(torch.cat([right, regions], 1), target)
    assert best < 0.01
    for other in (torch.zeros_like(right), right.flip(3), torch.full_like(right, -9.0)):
        assert loss(torch.cat([other, regions], 1), target) > best + 0.05
    target[:, -1] = 2
    assert loss(torch.cat([right, regions], 1), target) == pytest.approx(float(best) + np.log(len(REGIONS)), rel=1e-3)


def test_what_nobody_marked_is_unknown_and_costs_nothing() -> None:
    data = record()
    data["canal"] = np.array([[0.0, 0.0, 4.0 * n - 20.0] for n in range(5)])
    data["foramen"] = np.array([[8.0, 5.0, 0.0]])
    target = LandmarkMapsd(lumbar_only=True)(data)["label"]
    canal, foramen = target[0], target[1]
    affine = map_affine(data["affine"])
    top = to_voxel(affine, data["canal"][-1])[2]
    above = int(np.ceil(top + 15.0 / spacing(affine)[2]))
    assert (canal[:, :, above:] == UNKNOWN).all()
    assert (canal[:, :, :above] >= 0).all()
    assert (foramen[foramen != UNKNOWN] >= 0.05).all()
    assert (foramen == UNKNOWN).any()
    logits = torch.zeros(1, len(LANDMARKS) + len(REGIONS), *target.shape[1:])
    wild = logits.clone()
    wild[0, :3][target[:3] == UNKNOWN] = 7.0
    assert LandmarkLoss()(wild, target[None]) == LandmarkLoss()(logits, target[None])


def test_a_peak_where_nobody_looked_is_neither_found_nor_invented() -> None:
    data = {**record(), "foramen": np.array([[1.0, 0.0, 4.0]])}
    made = LandmarkMapsd()(data)
    image = {**made, "pred": torch.cat([made["label"][:3], torch.zeros(len(REGIONS), *made["label"].shape[1:])])}
    assert len(predicted_points(image, "canal")) == len(true_landmarks(image, "canal")) == 2
    image["label"] = made["label"].clone()
    image["label"][0] = UNKNOWN
    assert not len(predicted_points(image, "canal"))
    assert predicted_points(image, "foramen") == pytest.approx(data["foramen"], abs=0.6)


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
    (peak,) = find_peaks(gaussians(place[None], grid, SIZE, DEVIATION), grid, threshold=0.3, apart=10.0)
    assert np.linalg.norm(peak.world - place) < 0.5
    assert 0.5 < peak.height <= 1.0


def test_peaks_come_highest_first_and_apart() -> None:
    grid = affine(0.0, 4.0)
    points = to_world(grid, [[4, 10, 10], [4, 10, 14], [4, 25, 30]])
    values = np.max(
        [h * gaussians(p[None], grid, SIZE, DEVIATION) for h, p in zip((0.9, 0.6, 0.8), points, strict=True)],
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
    (peak,) = find_peaks(gaussians(place[None], grid, SIZE, DEVIATION), grid, threshold=0.3, apart=10.0)
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
