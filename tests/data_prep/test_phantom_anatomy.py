"""The phantom's anatomy: coordinates, measures as drawn, contrasts."""

import numpy as np
import pytest

from data_prep.phantom import anatomy, canal, disease
from data_prep.phantom.acquisition import label_map
from data_prep.phantom.signal import T1, T2, stir, strength
from data_prep.phantom.tissue import RELAXATION, Tissue, nucleus
from monai_spine.geometry import to_voxel
from monai_spine.spine import FINDINGS, Group, Level, Side

STEP = 0.25


def person(severity, seed=0):
    """Someone with the same severity everywhere."""
    severities = np.full(len(FINDINGS), float(severity))
    illness = disease.Disease(severities, disease.measures(severities))
    return anatomy.draw(illness, np.random.default_rng(seed), np.array([5.0, -10.0, 20.0]))


def tissues(someone, centre, axes, size):
    """Label map of a plane through ``centre`` (spine coordinates) along two of its local axes, ``STEP`` apart."""
    middle = someone.curve.to_world(centre)
    ahead = [someone.curve.to_world(centre + np.eye(3)[axis] * 0.1) - middle for axis in axes]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = (STEP * step / np.linalg.norm(step) for step in ahead)
    affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
    affine[:3, 3] = middle - affine[:3, :2] @ ((np.array(size) - 1) / 2)
    return label_map(someone, affine, (*size, 1))[0]


def test_spine_coordinates_come_back():
    someone = person(0)
    rng = np.random.default_rng(1)
    points = rng.uniform([-80, -60, -140], [80, 40, 140], (500, 3))
    back = someone.curve.to_spine(someone.curve.to_world(points))
    assert np.abs(back - points).max() < 0.05


def test_spine_coordinates_keep_right_forward_and_up():
    someone = person(0)
    origin = someone.curve.to_world(np.zeros(3))
    for axis in range(3):
        moved = someone.curve.to_world(10 * np.eye(3)[axis]) - origin
        assert np.argmax(np.abs(moved)) == axis
        assert moved[axis] > 8


@pytest.mark.parametrize("severity", [-1.0, 0.5, 1.5, 2.5])
@pytest.mark.parametrize("level", [Level.L1_L2, Level.L4_L5])
def test_sac_is_as_deep_as_its_measure(severity, level):
    someone = person(severity)
    plane = tissues(someone, canal.canal_point(someone, level), (0, 1), (161, 161))
    column = plane[:, 80]
    inside = np.isin(column, [Tissue.CSF, Tissue.NERVE, Tissue.CORD])
    measure = someone.measure(Group.SPINAL, None, level)
    assert inside.sum() * STEP == pytest.approx(measure, abs=3 * STEP)


@pytest.mark.parametrize("severity", [-1.0, 0.5, 1.5, 2.5])
@pytest.mark.parametrize("side", Side)
def test_recess_is_as_wide_as_its_measure(severity, side):
    someone = person(severity)
    point = canal.recess_point(someone, Level.L3_L4, side)
    column = tissues(someone, point, (0, 1), (81, 61))[:, 40]
    inside = np.isin(column, [Tissue.FAT, Tissue.NERVE])
    connected = np.split(inside, np.flatnonzero(np.diff(inside)) + 1)
    width = max(len(run) for run in connected if run[0]) * STEP
    assert width == pytest.approx(someone.measure(Group.SUBARTICULAR, side, Level.L3_L4), abs=3 * STEP)


@pytest.mark.parametrize("side", Side)
def test_foraminal_fat_shrinks_with_its_measure(side):
    areas = []
    for severity in (-1.0, 0.5, 1.5, 2.5):
        someone = person(severity)
        point = canal.foramen_point(someone, Level.L4_L5, side)
        areas.append((tissues(someone, point, (1, 2), (31, 65)) == Tissue.FAT).sum() * STEP**2)
    assert np.all(np.diff(areas) < -10)
    assert areas[0] > 4 * areas[-1]


def test_left_findings_lie_to_the_left():
    someone = person(0)
    for place in (canal.foramen_point, canal.recess_point):
        for level in Level:
            left, right = (someone.curve.to_world(place(someone, level, side))[0] for side in (Side.LEFT, Side.RIGHT))
            assert left < right - 10


def test_levels_run_downwards():
    someone = person(0)
    heights = [someone.curve.to_world(canal.canal_point(someone, level))[2] for level in Level]
    assert np.all(np.diff(heights) < -20)


def test_people_differ_but_the_same_seed_makes_the_same_person():
    assert person(0, seed=3).vertebrae == person(0, seed=3).vertebrae
    assert person(0, seed=3).vertebrae != person(0, seed=4).vertebrae


@pytest.mark.parametrize("field", [1.5, 3.0])
def test_contrasts_are_those_of_t1_t2_and_stir(field):
    def signal(name, sequence):
        return strength(RELAXATION[name], sequence, field)

    t1 = [signal(t, T1) for t in (Tissue.FAT, Tissue.MARROW, Tissue.MUSCLE, Tissue.CSF, Tissue.CORTEX)]
    t2 = [signal(t, T2) for t in (Tissue.CSF, Tissue.FAT, Tissue.MARROW, Tissue.MUSCLE, Tissue.CORTEX)]
    assert t1 == sorted(t1, reverse=True)
    assert t2 == sorted(t2, reverse=True)
    assert signal(Tissue.FAT, stir(field)) < 0.02 * signal(Tissue.CSF, stir(field))


def test_a_drier_disc_is_darker_on_t2():
    wet, dry = (strength(nucleus(hydration), T2, 1.5) for hydration in (0.9, 0.1))
    assert wet > 3 * dry


def test_anatomy_is_the_same_whatever_plane_it_is_seen_in():
    someone = person(0.5)
    point = canal.canal_point(someone, Level.L3_L4)
    axial = tissues(someone, point, (0, 1), (81, 81))
    sagittal = tissues(someone, point, (1, 2), (81, 81))
    assert np.mean(axial[:, 40] == sagittal[40, :]) > 0.95


def test_a_point_maps_to_the_voxel_that_shows_it():
    someone = person(2.5)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    world = someone.curve.to_world(canal.canal_point(someone, Level.L3_L4))
    affine[:3, 3] = np.round(world) - 10
    i, j, k = np.rint(to_voxel(affine, world)).astype(int)
    assert label_map(someone, affine, (21, 21, 21))[k, j, i] in {Tissue.CSF, Tissue.NERVE}
