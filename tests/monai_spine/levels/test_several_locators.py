from dataclasses import replace

import numpy as np
import pytest

from monai_spine.levels.sagittal.chain import Chain, Disc
from monai_spine.levels.sagittal.doubts import Doubt, Flag
from monai_spine.levels.sagittal.points import Absent, LevelPoint, SpinePoints, Structure
from monai_spine.levels.several_locators import averaged
from monai_spine.spine import Level

LEVELS = list(Level)


def spine(shift: tuple[float, float, float] = (0, 0, 0), *, sure: float = 0.9, first: int = 0) -> SpinePoints:
    """Canal points 30 mm apart, from the level ``first`` on."""
    places = [np.array([0.0, 0.0, -30.0 * n]) + shift for n in range(5 - first)]
    points = [LevelPoint(Structure.CANAL, LEVELS[n + first], None, at, sure) for n, at in enumerate(places)]
    discs = tuple(Disc(at, sure, np.array([0.0, 0.0, 1.0])) for at in places)
    return SpinePoints(Chain(discs, anchored=True, sacrum=0.9), tuple(points), ())


NONE = SpinePoints(None, (), (), "no lumbar spine found")


def test_points_are_means_in_mm_and_agreement_has_no_flag() -> None:
    found = averaged([spine((0, 1, 2)), spine((2, 3, 0))])
    for n, point in enumerate(found.points):
        assert point.world == pytest.approx([1, 2, 1 - 30 * n])
        assert not point.flags
    assert found.chain is not None
    assert found.chain.certain


def test_one_localizer_alone_is_itself() -> None:
    one = spine()
    assert [p.world.tolist() for p in averaged([one]).points] == [p.world.tolist() for p in one.points]


def test_a_point_that_one_localizer_puts_elsewhere_is_flagged() -> None:
    other = spine(sure=0.8)
    moved = replace(other.points[2], world=other.points[2].world + np.array([0, 14, 0]))
    found = averaged([spine(), replace(other, points=(*other.points[:2], moved, *other.points[3:]))])
    flags = [point.flags for point in found.points]
    assert flags == [(), (), (Flag.MODELS_DIFFER.value,), (), ()]


def test_localizers_that_count_differently_leave_the_surest_and_a_doubt() -> None:
    off_by_one = spine((0, 1, 0), sure=0.5, first=1)
    for answers in ([spine(), off_by_one], [off_by_one, spine()]):
        found = averaged(answers)
        assert found.chain is not None
        assert found.chain.doubts == (Doubt.MODELS,)
        assert [point.world.tolist() for point in found.points] == [p.world.tolist() for p in spine().points]
        assert all(Flag.UNCERTAIN_LEVEL.value in point.flags for point in found.points)


def test_a_localizer_that_finds_no_spine_leaves_a_doubt_and_all_of_them_none() -> None:
    found = averaged([NONE, spine()])
    assert found.chain is not None
    assert not found.chain.certain
    assert averaged([NONE, NONE]).chain is None


def test_an_interpolated_point_gives_way_to_one_that_was_seen() -> None:
    one, other = spine(), spine((0, 4, 0))
    guessed = replace(one.points[1], flags=(Flag.INTERPOLATED.value,))
    found = averaged([replace(one, points=(one.points[0], guessed, *one.points[2:])), other])
    assert found.points[1].world == pytest.approx(other.points[1].world)
    assert not found.points[1].flags


def test_a_point_that_one_of_them_has_is_not_absent() -> None:
    one = spine()
    absent = Absent(Structure.CANAL, LEVELS[0], None, "out of view")
    lacking = replace(one, points=one.points[1:], absent=(absent,))
    found = averaged([lacking, spine(sure=0.7)])
    assert not found.absent
    assert {point.level for point in found.points} == set(LEVELS)
