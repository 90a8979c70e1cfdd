"""A person: levels and sides, transitional vertebrae."""

import numpy as np
import pytest

from data_prep.phantom.quirks import Transition, Variants
from data_prep.phantom.vertebrae import FIRST_LUMBAR, FIRST_SACRAL
from monai_spine.spine import Level, Side
from tests.data_prep.phantom.people import UNUSUAL, person


def test_left_findings_lie_to_the_left():
    someone = person(0)
    for place in (someone.foramen_point, someone.recess_point):
        for level in Level:
            left, right = (someone.curve.to_world(place(level, side))[0] for side in (Side.LEFT, Side.RIGHT))
            assert left < right - 10


def test_levels_run_downwards():
    someone = person(0)
    heights = [someone.curve.to_world(someone.canal_point(level))[2] for level in Level]
    assert np.all(np.diff(heights) < -20)


def test_people_differ_but_the_same_seed_makes_the_same_person():
    assert person(0, seed=3).vertebrae == person(0, seed=3).vertebrae
    assert person(0, seed=3).vertebrae != person(0, seed=4).vertebrae


@pytest.mark.parametrize("variants", UNUSUAL.values(), ids=UNUSUAL)
def test_l5_s1_is_the_last_disc_above_the_sacrum(variants):
    someone = person(variants=variants)
    assert [body.sacral for body in someone.vertebrae] == [False] * FIRST_SACRAL + [True] * 3
    disc = someone.level_disc(Level.L5_S1)
    assert someone.vertebrae[FIRST_SACRAL - 1].s > disc.s > someone.vertebrae[FIRST_SACRAL].s
    assert disc.height > 4.0


def test_six_lumbar_vertebrae_have_a_twelfth_thoracic_one_above_them():
    names = [body.name for body in person(variants=UNUSUAL["l6"]).vertebrae]
    assert names[1:8] == ["T12", "L1", "L2", "L3", "L4", "L5", "L6"]
    assert names[FIRST_LUMBAR] == "L2"


def test_a_sacralised_l5_has_a_thin_disc_below_it():
    someone = person(variants=UNUSUAL["sacralised"])
    assert someone.vertebrae[FIRST_SACRAL].name == "L5"
    assert someone.vertebrae[FIRST_LUMBAR].name == "T12"
    assert 2.0 < someone.discs[FIRST_SACRAL].height < 5.0 < someone.discs[FIRST_SACRAL - 1].height


def test_the_conus_counts_from_l1_whatever_lies_below():
    usual, six, four = (person(variants=Variants(transition)) for transition in Transition)
    for someone in (usual, six, four):
        assert -18.0 <= someone.conus - someone.vertebra("L1").s <= 6.0
    assert six.conus > usual.conus + 15 > four.conus + 30


@pytest.mark.parametrize("variants", UNUSUAL.values(), ids=UNUSUAL)
def test_a_variant_changes_no_other_random_number(variants):
    usual, unusual = person(), person(variants=variants)
    assert np.array_equal(usual.measures, unusual.measures)
    assert (usual.seed, usual.fat, usual.facets) == (unusual.seed, unusual.fat, unusual.facets)
    assert [disc.hydration for disc in usual.discs[:FIRST_SACRAL]] == [
        disc.hydration for disc in unusual.discs[:FIRST_SACRAL]
    ]


def test_sacs_differ_by_an_eighth_between_persons_of_the_same_severity():
    depths = np.array([person(0.0, seed=seed).measures[3] for seed in range(60)])
    assert depths.std() / depths.mean() == pytest.approx(0.12, abs=0.04)


def test_worn_discs_reach_a_sixth_of_their_height():
    heights = [disc.height for seed in range(60) for disc in person(0.5, seed=seed).discs[FIRST_LUMBAR:FIRST_SACRAL]]
    assert min(heights) < 3.5
    assert np.median(heights) == pytest.approx(8.0, abs=1.5)
