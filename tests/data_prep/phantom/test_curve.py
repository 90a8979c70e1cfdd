"""Spine coordinates: forth and back, orientation, slips."""

import numpy as np
import pytest

from data_prep.phantom.quirks import SLIPS, Slip, Variants
from data_prep.phantom.vertebrae import FIRST_LUMBAR
from monai_spine.spine import Level
from tests.data_prep.phantom.people import person


@pytest.mark.parametrize(
    ("variants", "low", "high"),
    [
        (Variants(), [-80, -60, -140], [80, 40, 140]),
        (Variants(slip=Slip(Level.L4_L5, 10.0)), [-50, -40, -120], [50, 30, 120]),
    ],
    ids=["usual", "slip"],
)
def test_spine_coordinates_come_back(variants, low, high):
    someone = person(variants=variants)
    points = np.random.default_rng(1).uniform(low, high, (500, 3))
    back = someone.curve.to_spine(someone.curve.to_world(points))
    assert np.abs(back - points).max() < 0.05


def test_spine_coordinates_keep_right_forward_and_up():
    someone = person(0)
    origin = someone.curve.to_world(np.zeros(3))
    for axis in range(3):
        moved = someone.curve.to_world(10 * np.eye(3)[axis]) - origin
        assert np.argmax(np.abs(moved)) == axis
        assert moved[axis] > 8


@pytest.mark.parametrize("level", list(SLIPS))
def test_a_slip_moves_what_is_above_forwards_by_its_amount(level):
    usual, slipped = person(), person(variants=Variants(slip=Slip(level, 8.0)))
    index = FIRST_LUMBAR + list(Level).index(level)
    above, below = (usual.vertebrae[n].s for n in (index, index + 1))
    moved = [slipped.curve.to_world([0, 0, s]) - usual.curve.to_world([0, 0, s]) for s in (above, below)]
    forwards = [usual.curve.to_world([0, 1, s]) - usual.curve.to_world([0, 0, s]) for s in (above, below)]
    apart = moved[0] @ forwards[0] - moved[1] @ forwards[1]
    assert apart == pytest.approx(8.0, abs=0.01)
