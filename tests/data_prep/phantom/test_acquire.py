"""Acquired images: independent of the plane, ghosts and ringing."""

import numpy as np
import pytest

from data_prep.choices import PhantomSize
from data_prep.phantom.acquire import acquire, ghosted, label_map, zero_filling
from data_prep.phantom.painting.canvas import Tissue
from data_prep.phantom.plan import Ghost
from data_prep.phantom.quirks import Quirk
from data_prep.phantom.study import draw_study
from monai_spine.geometry import to_voxel
from monai_spine.spine import Level
from tests.data_prep.phantom.people import person, plane
from tests.data_prep.tiny_phantom import tiny_images


def test_anatomy_is_the_same_in_every_plane():
    someone = person(0.5)
    point = someone.canal_point(Level.L3_L4)
    axial = plane(someone, point, (0, 1), (81, 81))
    sagittal = plane(someone, point, (1, 2), (81, 81))
    assert np.mean(axial[:, 40] == sagittal[40, :]) > 0.95


def test_a_point_maps_to_the_voxel_that_shows_it():
    someone = person(2.5)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    world = someone.curve.to_world(someone.canal_point(Level.L3_L4))
    affine[:3, 3] = np.round(world) - 10
    i, j, k = np.rint(to_voxel(affine, world)).astype(int)
    assert label_map(someone, affine, (21, 21, 21))[k, j, i] in {Tissue.CSF, Tissue.NERVE}


def block():
    """A bright square in the dark."""
    image = np.zeros((2, 64, 64), dtype=np.float32)
    image[:, 24:40, 24:40] = 1.0
    return image


def test_holding_the_breath_leaves_no_ghost():
    assert np.allclose(ghosted(block(), Ghost(0.0, 8.0, 1.0)), block(), atol=1e-5)


def test_ghosts_run_along_the_rows_and_grow_with_the_motion():
    outside = []
    for amplitude in (0.5, 1.0, 2.0):
        image = ghosted(block(), Ghost(amplitude, 8.0, 1.0))
        outside.append(image[:, :16, 24:40].mean())
        assert np.allclose(image[:, :, :20], 0.0, atol=1e-5)
    assert outside == sorted(outside)
    assert outside[-1] > 0.01


def test_a_ghost_keeps_the_images_energy():
    assert (ghosted(block(), Ghost(2.0, 8.0, 1.0)) ** 2).sum() == pytest.approx((block() ** 2).sum(), rel=1e-4)


def test_breaths_set_the_distance_of_the_ghosts():
    for breaths in (8, 16):
        image = ghosted(block()[:, :, 30:34], Ghost(1.0, breaths, 0.0))[0].mean(axis=1)
        first = np.argmax(image[42:]) + 42
        assert first - 32 == pytest.approx(breaths, abs=9)


@pytest.mark.parametrize("acquired", [160, 192])
def test_less_of_k_space_rings_more(acquired):
    edge = (np.arange(acquired) > acquired // 2).astype(np.float32)
    rings = [(zero_filling(acquired, 192, kept) @ edge)[102:150].std() for kept in (1.0, 0.65, 0.5)]
    assert rings == sorted(rings)
    assert rings[2] > 2 * rings[0]


def test_zero_filling_keeps_a_constant():
    for kept in (1.0, 0.6):
        assert np.allclose(zero_filling(160, 256, kept).sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("quirk", [Quirk.MOTION_GHOST, Quirk.GIBBS_RINGING])
def test_an_artefact_changes_the_series_of_the_table_and_no_other(quirk):
    with tiny_images():
        plain = draw_study(4, 1, PhantomSize.SMALL)
        odd = draw_study(4, 1, PhantomSize.SMALL, frozenset({quirk}))
        for one, other in zip(plain.series, odd.series, strict=True):
            images = [
                acquire(study.anatomy, series.stacks[0].scan, np.random.default_rng(0))
                for study, series in ((plain, one), (odd, other))
            ]
            assert np.array_equal(*images) == (odd.details[quirk] != f"series {other.id}")
