"""Herniations, fissures, nodes, cysts, operated arches: as often as said, seen in the image, and no measure changed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.phantom.canal_shape import CanalShape, draw_traits
from data_prep.phantom.lesions import NO_LESIONS, Cyst, Hernia, Lesions, Node, bulge_profile, draw_lesions
from data_prep.phantom.painting.canvas import Tissue
from data_prep.phantom.vertebrae import FIRST_LUMBAR, Vertebra
from monai_spine.spine import Group, Level, Side
from tests.data_prep.phantom.people import SAC, STEP, person, plane

HERNIAS = {
    "central": Hernia(0.0, 5.0, 0.9, 0.0),
    "left, moved up": Hernia(-4.5, 6.0, 0.8, 9.0),
    "right, moved down": Hernia(5.0, 6.5, 0.95, -10.0),
}


def with_lesions(severity=0.5, **lesions):
    """A person with these lesions alone."""
    someone, found = person(severity), Lesions(**lesions)
    traits = draw_traits(np.random.default_rng(3))
    canal = CanalShape.of(someone.vertebrae, someone.discs, someone.measures, traits, found.hernias)
    return replace(someone, lesions=found, canal=canal)


@pytest.mark.parametrize("hernia", HERNIAS.values(), ids=HERNIAS)
@pytest.mark.parametrize("severity", [0.5, 1.5, 2.5])
def test_sac_and_recesses_beside_a_herniation_keep_their_measures(hernia, severity):
    someone = with_lesions(severity, hernias=(hernia,) * 5)
    column = plane(someone, someone.canal_point(Level.L4_L5), (0, 1), (161, 161))[:, 80]
    sac = np.isin(column, SAC).sum() * STEP
    assert sac == pytest.approx(someone.measure(Group.SPINAL, None, Level.L4_L5), abs=3 * STEP)
    for side in Side:
        column = plane(someone, someone.recess_point(Level.L3_L4, side), (0, 1), (81, 61))[:, 40]
        inside = np.isin(column, [Tissue.FAT, Tissue.NERVE])
        runs = np.split(inside, np.flatnonzero(np.diff(inside)) + 1)
        width = max(len(run) for run in runs if run[0]) * STEP
        assert width == pytest.approx(someone.measure(Group.SUBARTICULAR, side, Level.L3_L4), abs=3 * STEP)


@given(
    st.floats(-6.0, 6.0), st.floats(4.0, 7.5), st.floats(0.5, 0.95), st.sampled_from([0.0, 8.0]), st.integers(0, 2**31)
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_herniation_the_disc_stands_out_as_far_at_the_midline(side, half_width, share, migration, seed):
    hernia = Hernia(min(0.85, max(-0.85, side / 7.0)) * half_width, half_width, share, migration)
    assert bulge_profile(hernia, np.zeros(1, dtype=np.float32))[0] == pytest.approx(1.0, abs=1e-5)
    drawn = draw_lesions(person().discs, np.random.default_rng(seed))
    for one in drawn.hernias:
        assert bulge_profile(one, np.zeros(1, dtype=np.float32))[0] == pytest.approx(1.0, abs=1e-5)


def test_a_herniation_lies_on_its_side_and_its_fragment_above_or_below_the_disc():
    hernia = HERNIAS["left, moved up"]
    torn = with_lesions(2.0, hernias=(None, None, None, hernia, None))
    place = torn.canal_point(Level.L4_L5)
    material = [Tissue.ANNULUS, Tissue.NUCLEUS + FIRST_LUMBAR + 3]
    behind = torn.canal.at(torn.canal.wall, place[2]) - 0.8 - place[1]
    for up, differs in ((0.0, True), (8.0, True), (-8.0, False)):
        disc = np.isin(plane(torn, place + np.array([0.0, behind - 4.0, up]), (0, 1), (81, 33)), material)
        left, right = disc[:, :40].sum() * STEP**2, disc[:, 41:].sum() * STEP**2
        assert (left > right + 3.0) == differs


def test_nodes_fissures_and_cysts_are_seen_where_they_are():
    node = Node(FIRST_LUMBAR + 1, True, (0.0, 0.0), 4.0, 5.0)
    cysts = tuple(Cyst(Level.L4_L5, Side.RIGHT, 4.0, in_canal) for in_canal in (True, False))
    someone = with_lesions(nodes=(node,), fissures=(None, None, 0.0, None, None), cysts=cysts)
    body = someone.vertebrae[FIRST_LUMBAR + 1]
    image = plane(someone, np.array([0.0, 0.0, body.s - body.height / 2 + 3.0]), (1, 2), (21, 9))
    assert (image == Tissue.NUCLEUS + FIRST_LUMBAR + 1).any() and (image == Tissue.SCLEROSIS).any()
    disc = someone.level_disc(Level.L3_L4)
    image = plane(someone, np.array([0.0, -0.8 * disc.depth / 2, disc.at(-15.0)]), (1, 2), (41, 21))
    assert (image == Tissue.FLUID).sum() * STEP**2 > 2.0
    place = someone.canal_point(Level.L4_L5) + np.array([0.0, -12.0, 3.0])
    image = plane(someone, place, (0, 1), (201, 121))
    assert (image[:, 110:] == Tissue.FLUID).sum() > (image[:, :90] == Tissue.FLUID).sum() + 200


def test_an_operated_arch_has_no_lamina_and_no_spinous_process():
    number = FIRST_LUMBAR + 3
    usual, operated = with_lesions(), with_lesions(operated=frozenset({number}))
    body: Vertebra = usual.vertebrae[number]
    wall = usual.canal.at(usual.canal.wall, body.s) - usual.canal.at(usual.canal.roof, body.s)
    images = [plane(one, np.array([0.0, wall - 12.0, body.s - 7.0]), (0, 1), (41, 61)) for one in (usual, operated)]
    bone = [np.isin(image, [Tissue.MARROW, Tissue.CORTEX]).mean() for image in images]
    assert bone[0] > 0.3 and bone[1] == 0.0
    other = np.array([0.0, -30.0, usual.vertebrae[FIRST_LUMBAR + 1].s])
    assert np.array_equal(*(plane(one, other, (1, 2), (81, 41)) for one in (usual, operated)))


def test_lesions_are_as_frequent_as_in_the_literature():
    drawn = [person(0.5, seed=seed).lesions for seed in range(400)]
    share = lambda holds: np.mean([holds(one) for one in drawn])  # noqa: E731 - five shares of one list
    assert share(lambda one: any(one.hernias)) == pytest.approx(0.49, abs=0.08)
    assert share(lambda one: bool(one.nodes)) == pytest.approx(0.22, abs=0.06)
    assert share(lambda one: any(place is not None for place in one.fissures)) == pytest.approx(0.32, abs=0.15)
    assert share(lambda one: bool(one.cysts)) == pytest.approx(0.09, abs=0.04)
    assert share(lambda one: bool(one.operated)) == pytest.approx(0.04, abs=0.03)
    low = [n for one in drawn for n, hernia in enumerate(one.hernias) if hernia]
    assert np.mean(np.array(low) >= 3) > 0.6
    assert NO_LESIONS.hernias == (None,) * 5
