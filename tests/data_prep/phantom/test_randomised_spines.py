"""Randomised volumes: points on what they name, negatives without points, rates."""

from collections import Counter

import numpy as np
import pytest

from data_prep.phantom.painting import canal
from data_prep.phantom.painting.canvas import Canvas
from data_prep.phantom.quirks import NORMAL
from data_prep.phantom.randomised import RandomisedSpines
from data_prep.phantom.randomised.dataset import draw_unusual, landmarks
from data_prep.phantom.randomised.spines import OFFSETS, SHARES, Content, Region, regions_of
from monai_spine.geometry import spacing, to_voxel
from tests.data_prep.phantom.people import UNUSUAL, person

POINTS = ("canal", "foramen", "lumbosacral")


@pytest.fixture(scope="module")
def items() -> list[dict]:
    dataset = RandomisedSpines(length=60, seed=4, shape=(10, 96, 112), step=2.5)
    return [dataset[n] for n in range(len(dataset))]


def spines(items: list[dict]) -> list[dict]:
    return [item for item in items if item["content"] == Content.SPINE.value]


def test_seed_epoch_and_index_determine_an_item() -> None:
    one, other = (RandomisedSpines(length=n, seed=7, shape=(4, 48, 48), step=5.0) for n in (3, 9))
    assert all(np.array_equal(one[2][key], other[2][key]) for key in ("image", "affine", "label", *POINTS))
    first = one[2]["image"]
    one.set_epoch(1)
    assert not np.array_equal(first, one[2]["image"])
    with pytest.raises(IndexError, match="from 0 to 2"):
        one[3]


def test_images_run_from_0_to_1_and_their_axes_are_orthogonal(items: list[dict]) -> None:
    for item in items:
        image, axes = item["image"], item["affine"][:3, :3] / spacing(item["affine"])
        assert image.shape == item["label"].shape == (1, 10, 96, 112)
        assert (image.dtype, item["label"].dtype) == (np.float32, np.uint8)
        assert 0 <= image.min() <= image.max() <= 1
        assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-9)
        assert spacing(item["affine"])[1:] == pytest.approx([2.5, 2.5])


def test_canal_points_lie_in_the_canal_and_below_each_other(items: list[dict]) -> None:
    hits = total = 0
    for item in spines(items):
        nearest = np.rint(to_voxel(item["affine"], item["canal"])).astype(int)
        for x, y, z in nearest:
            around = item["label"][0, x, max(0, y - 1) : y + 2, max(0, z - 1) : z + 2]
            hits, total = hits + (around == Region.CANAL).any(), total + 1
        assert (np.diff(item["canal"][:, 2]) < 0).all()
    assert total > 80
    assert hits / total > 0.9  # a sac of 3 mm may slip between samples 2.5 mm apart


def test_fluid_that_moves_belongs_to_the_canal() -> None:
    affine = np.array([[0, 0, 3, -20.0], [0, 1, 0, -90.0], [1, 0, 0, -120.0], [0, 0, 0, 1]])
    regions = []
    for variants in (NORMAL, UNUSUAL["pulsating"]):
        someone = person(variants=variants)
        canvas = Canvas.blank(someone.curve, affine, (220, 150, 12), OFFSETS)
        canal.paint(canvas, someone)
        regions.append(regions_of(someone, canvas.one_sample()))
    assert (regions[0] == Region.CANAL).sum() > 1000
    assert np.array_equal(*regions)


@pytest.mark.parametrize("seed", range(12))
def test_foramina_stand_left_and_right_of_their_canal(seed: int) -> None:
    canal, foramen = landmarks(draw_unusual(np.random.default_rng(seed)))
    left, right = foramen[:, 0], foramen[:, 1]
    assert (left[:, 0] < canal[:, 0]).all()
    assert (right[:, 0] > canal[:, 0]).all()
    assert (np.linalg.norm((left + right) / 2 - canal, axis=1) < 16).all()


def test_the_lumbosacral_point_is_the_lowest_canal_point_and_stands_on_the_sacrum(items: list[dict]) -> None:
    anchored = [item for item in spines(items) if len(item["lumbosacral"])]
    assert len(anchored) > 10
    for item in anchored:
        assert item["canal"][-1] == pytest.approx(item["lumbosacral"][0])
        height = int(to_voxel(item["affine"], item["lumbosacral"][0])[2])
        if height > 20:
            below = item["label"][0][:, :, : height - 8]
            assert (below == Region.SACRUM).sum() >= (below == Region.BODY).sum()


def test_what_is_not_in_view_is_black_and_has_no_points(items: list[dict]) -> None:
    for item in spines(items):
        for name in POINTS:
            nearest = np.rint(to_voxel(item["affine"], item[name])).astype(int)
            assert ((nearest >= 0) & (nearest < item["image"].shape[1:])).all()
            unseen = (item["image"] == 0).all(axis=(0, 2, 3)) if len(nearest) else np.zeros(0, bool)
            assert not any(unseen[x] for x in nearest[:, 0])


def test_negatives_have_neither_points_nor_regions(items: list[dict]) -> None:
    negatives = [item for item in items if item["content"] != Content.SPINE.value]
    assert len(negatives) > 5
    for item in negatives:
        assert not any(len(item[name]) for name in POINTS)
        assert not item["label"].any()
        assert item["image"].any()


@pytest.mark.slow
def test_contents_come_at_their_rates() -> None:
    dataset = RandomisedSpines(length=200, seed=11, shape=(2, 16, 16), step=16.0)
    seen = Counter(dataset[n]["content"] for n in range(200))
    for content, share in SHARES.items():
        assert seen[content.value] / 200 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 200))


def test_contrasts_differ_more_than_any_scanners(items: list[dict]) -> None:
    """Whether the bodies or the canal are brighter must be a matter of chance."""
    brighter = []
    for item in spines(items):
        body, canal = (item["image"][item["label"] == region] for region in (Region.BODY, Region.CANAL))
        if body.size > 200 and canal.size > 50:
            brighter.append(np.median(body) > np.median(canal))
    assert 0.2 < np.mean(brighter) < 0.8
