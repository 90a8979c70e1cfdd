"""Randomised slices: points on the plane, storage in any order, negatives without points, rates."""

from collections import Counter

import numpy as np
import pytest

from data_prep.phantom.randomised import RandomisedRecesses, dataset, recesses
from data_prep.phantom.randomised.recesses import FIELD, SHARES, Content
from monai_spine.geometry import spacing, to_voxel, to_world
from monai_spine.spine import Level, Side


@pytest.fixture(scope="module")
def items() -> list[dict]:
    dataset = RandomisedRecesses(length=90, seed=4)
    return [dataset[n] for n in range(len(dataset))]


def shown(items: list[dict]) -> list[dict]:
    return [item for item in items if np.isfinite(item["recess"]).all()]


def test_seed_epoch_and_index_determine_an_item() -> None:
    one, other = (RandomisedRecesses(length=n, seed=7) for n in (3, 9))
    names = ("image", "affine", "canal", "upwards", "recess", "sac")
    assert all(np.array_equal(one[2][name], other[2][name], equal_nan=True) for name in names)
    first = one[2]["image"]
    one.set_epoch(1)
    assert not np.array_equal(first, one[2]["image"])
    with pytest.raises(IndexError, match="from 0 to 2"):
        one[3]


def test_images_are_slices_from_0_to_1_with_orthogonal_axes(items: list[dict]) -> None:
    for item in items:
        image, step = item["image"], spacing(item["affine"])
        axes = item["affine"][:3, :3] / step
        assert (image.dtype, image.shape[2]) == (np.float32, 1)
        assert 0 <= image.min() <= image.max() <= 1
        assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-9)
        assert step[0] == pytest.approx(step[1])
        assert 0.35 <= step[0] <= 1.2
        assert image.shape[0] * step[0] >= FIELD


def test_recesses_lie_on_the_plane_left_and_right_in_front_of_the_sac(items: list[dict]) -> None:
    assert len(shown(items)) > 60
    for item in shown(items):
        (left, right), sac = item["recess"], item["sac"]
        for place in (left, right, sac):
            assert to_voxel(item["affine"], place)[2] == pytest.approx(0.0, abs=0.01)
        assert 10.0 < right[0] - left[0] < 35.0
        assert ((left + right) / 2 - sac)[1] > -2.5  # a sac as flat as in severe stenosis may lie as far forward


def test_the_localised_canal_is_some_millimetres_off(items: list[dict]) -> None:
    off = [np.linalg.norm(item["canal"] - _on_plane(item, item["sac"])) for item in shown(items)]
    across = [np.linalg.norm(_on_plane(item, item["canal"]) - item["sac"]) for item in shown(items)]
    assert np.max(off) < 25.0
    assert 1.0 < np.median(across) < 6.0


def _on_plane(item: dict, point: np.ndarray) -> np.ndarray:
    return to_world(item["affine"], to_voxel(item["affine"], point) * [1, 1, 0])


@pytest.mark.parametrize("seed", range(8))
def test_the_truth_is_the_recess_moved_along_the_spine(seed: int) -> None:
    rng = np.random.default_rng(seed)
    person, level = dataset.draw_unusual(rng), list(Level)[seed % len(Level)]
    plane = recesses._plane(person, level, Content.RECESS, rng)
    truth, _ = recesses._truth(person, level, plane, Content.RECESS)
    for side, place in zip(Side, truth, strict=True):
        if np.isfinite(place).all():
            place_on_spine = person.curve.to_spine(place * plane.stretch)
            middle = person.recess_point(level, side)
            assert place_on_spine[:2] == pytest.approx(middle[:2], abs=0.2)
            assert abs(place_on_spine[2] - middle[2]) <= recesses.POCKET + 0.5


def test_storage_moves_no_pixel(items: list[dict]) -> None:
    image = np.arange(42.0, dtype=np.float32).reshape(1, 6, 7)[0, :, :6]
    affine = np.diag([0.5, 0.5, 4.0, 1.0])
    orders = set()
    for seed in range(24):
        voxels, turned = recesses._stored(image, affine, np.random.default_rng(seed))
        orders.add(tuple(map(tuple, turned[:3, :2].astype(float))))
        for index in np.ndindex(voxels.shape):
            column, row, _ = np.rint(to_voxel(affine, to_world(turned, [*index, 0]))).astype(int)
            assert voxels[index] == image[row, column]
    assert len(orders) > 4


def test_slices_without_a_recess_have_no_points(items: list[dict]) -> None:
    others = [item for item in items if item["content"] != Content.RECESS.value]
    assert len(others) > 3
    assert all(np.isnan(item["recess"]).all() and np.isnan(item["sac"]).all() for item in others)
    assert all(item["image"].any() for item in others)


def test_contents_come_at_their_rates(items: list[dict]) -> None:
    seen = Counter(item["content"] for item in items)
    for content, share in SHARES.items():
        assert seen[content.value] / len(items) == pytest.approx(
            share, abs=4 * np.sqrt(share * (1 - share) / len(items))
        )
