"""The measures of the disease, as they are drawn."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from data_prep.phantom.foramen_shape import ForamenShape
from data_prep.phantom.painting.canvas import Tissue
from data_prep.phantom.signal import RELAXATION, strength
from data_prep.phantom.vertebrae import FIRST_LUMBAR
from monai_spine.spine import Group, Level, Side
from tests.data_prep.phantom.people import SAC, STEP, UNUSUAL, person, plane, sagittal, tissue_at
from tests.data_prep.phantom.sequences import T1, T2


@pytest.mark.parametrize("severity", [-1.0, 0.5, 1.5, 2.5])
@pytest.mark.parametrize("level", [Level.L1_L2, Level.L4_L5])
def test_sac_is_as_deep_as_its_measure(severity, level):
    someone = person(severity)
    column = plane(someone, someone.canal_point(level), (0, 1), (161, 161))[:, 80]
    measure = someone.measure(Group.SPINAL, None, level)
    assert np.isin(column, SAC).sum() * STEP == pytest.approx(measure, abs=3 * STEP)


@pytest.mark.parametrize("variants", UNUSUAL.values(), ids=UNUSUAL)
@pytest.mark.parametrize("level", [Level.L1_L2, Level.L4_L5, Level.L5_S1])
def test_sac_of_an_unusual_spine_is_as_deep_as_its_measure(variants, level):
    someone = person(variants=variants)
    offsets = np.arange(-12.0, 12.01, STEP)
    places = [someone.canal_point(level) + np.array([0.0, offset, 0.0]) for offset in offsets]
    inside = [tissue_at(someone, place) in SAC for place in places]
    assert sum(inside) * STEP == pytest.approx(someone.measure(Group.SPINAL, None, level), abs=3 * STEP)


@pytest.mark.parametrize("severity", [-1.0, 0.5, 1.5, 2.5])
@pytest.mark.parametrize("side", Side)
def test_recess_is_as_wide_as_its_measure(severity, side):
    someone = person(severity)
    column = plane(someone, someone.recess_point(Level.L3_L4, side), (0, 1), (81, 61))[:, 40]
    inside = np.isin(column, [Tissue.FAT, Tissue.NERVE])
    connected = np.split(inside, np.flatnonzero(np.diff(inside)) + 1)
    width = max(len(run) for run in connected if run[0]) * STEP
    assert width == pytest.approx(someone.measure(Group.SUBARTICULAR, side, Level.L3_L4), abs=3 * STEP)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("severity", [-1.0, 0.5, 1.5, 2.5])
def test_fat_vessels_and_root_of_a_foramen_have_the_area_of_its_measure(side, severity):
    someone = person(severity)
    image = plane(someone, someone.foramen_point(Level.L4_L5, side), (1, 2), (61, 81))
    inside, number = label(np.isin(image, [Tissue.FAT, Tissue.NERVE, Tissue.VEIN]))
    area = np.bincount(inside.ravel())[1:].max() * STEP**2 if number else 0.0
    assert area == pytest.approx(someone.measure(Group.FORAMINAL, side, Level.L4_L5), rel=0.15, abs=6.0)


def test_a_dura_parts_the_sac_from_fat_and_leaves_it_as_it_was():
    usual = person()
    with_dura = sagittal(replace(usual, dura=1.0, root_radius=1.2))
    assert np.array_equal(np.isin(with_dura, SAC), np.isin(sagittal(usual), SAC))
    around = binary_dilation(np.isin(with_dura, SAC)) & ~np.isin(with_dura, SAC)
    shares = [(image[around] == Tissue.FAT).mean() for image in (sagittal(usual), with_dura)]
    assert shares[1] < shares[0] / 3


def test_thicker_roots_fill_more_of_the_sac():
    thin, thick = (sagittal(replace(person(), root_radius=radius)) for radius in (0.6, 1.2))
    assert (thick == Tissue.NERVE).sum() > 1.5 * (thin == Tissue.NERVE).sum()


def test_flowing_fluid_lies_inside_the_sac_and_is_dark_on_t2_alone():
    usual, pulsating = sagittal(person()), sagittal(person(variants=UNUSUAL["pulsating"]))
    assert (pulsating == Tissue.FLOWING_CSF).sum() > 200
    assert np.array_equal(np.isin(usual, SAC), np.isin(pulsating, SAC))
    still, fast = RELAXATION[Tissue.CSF], RELAXATION[Tissue.FLOWING_CSF]
    assert strength(fast, T2, 1.5) < 0.3 * strength(still, T2, 1.5)
    assert strength(fast, T1, 1.5) == pytest.approx(strength(still, T1, 1.5), rel=0.2)


def test_a_healthy_sac_is_pinched_at_discs_and_wide_between_them():
    someone = person(0.0)
    for upper, lower in pairwise(list(Level)[:-1]):
        disc = someone.canal.level_height(lower)
        body = (someone.canal.level_height(upper) + disc) / 2
        for table in (someone.canal.depth, someone.canal.half_width):
            assert someone.canal.at(table, body) > 1.05 * someone.canal.at(table, disc)


def test_a_narrow_sac_loses_a_third_of_its_area_at_the_first_cut_and_two_thirds_at_the_second():
    for level in Level:
        free, moderate, severe = (_area(person(severity), level) for severity in (-0.4, 1.0, 2.0))
        assert moderate / free == pytest.approx(2 / 3, abs=0.09)
        assert severe / free == pytest.approx(1 / 3, abs=0.09)


def _area(someone, level):
    image = plane(someone, someone.canal_point(level), (0, 1), (121, 121))
    return np.isin(image, SAC).sum() * STEP**2


def test_facet_joints_run_outwards_from_front_to_back():
    someone = person(0.5)
    place = someone.canal_point(Level.L4_L5) + np.array([0.0, -8.0, 0.0])
    row, column = np.nonzero(np.isin(plane(someone, place, (0, 1), (221, 161)), [Tissue.CARTILAGE, Tissue.FLUID]))
    assert np.corrcoef(np.abs(column - 110), row)[0, 1] < -0.5


@pytest.mark.parametrize("area", [120.0, 70.0, 30.0])
def test_a_foramen_is_a_keyhole_of_its_area(area):
    pair = person().vertebrae[FIRST_LUMBAR + 2 : FIRST_LUMBAR + 4]
    shape = ForamenShape.of(pair, pair[1].s + 18.0, area, 110.0, np.random.default_rng(0))
    width = np.maximum(shape.back - shape.front, 0.0)
    assert width.mean() * (shape.high - shape.low) == pytest.approx(area, rel=0.03)
    assert width[len(width) // 2 :].mean() > 1.3 * width[: len(width) // 2].mean()
