"""Points of a study: contradictions at their limits, and estimates of those that are missing."""

import numpy as np
import pytest

from data_prep.choices import PhantomSize
from data_prep.collection.codes import Code
from data_prep.collection.points import contradictions, estimated_points, neighbours, off_level
from data_prep.phantom.study import draw_study
from monai_spine.spine import FINDINGS, Condition, Finding, Group, Level

STUDIES = 12
CANAL, LEFT_FORAMEN, RIGHT_FORAMEN, LEFT_RECESS, RIGHT_RECESS = (
    [Finding(condition, level) for level in Level] for condition in Condition
)


@pytest.fixture(scope="module")
def studies():
    """Label points (RAS mm) and true places of findings."""
    drawn = [draw_study(9, n, PhantomSize.SMALL) for n in range(STUDIES)]
    marks = [{point.finding: point.world for point in study.points} for study in drawn]
    truths = [{finding: study.anatomy.position(finding) for finding in FINDINGS} for study in drawn]
    return list(zip(marks, truths, strict=True))


@pytest.mark.parametrize(
    "lost",
    [
        lambda finding: finding.condition.group is Group.SUBARTICULAR and finding.level is Level.L1_L2,
        lambda finding: finding.condition.group is Group.SUBARTICULAR and finding.level in list(Level)[:2],
        lambda finding: finding.level is Level.L4_L5 and finding.condition.side is not None,
        lambda finding: FINDINGS.index(finding) % 3 == 0,
    ],
)
def test_lost_points_are_estimated_within_the_reach_of_a_plane(studies, lost):
    errors = []
    for marks, truth in studies:
        estimates = estimated_points({f: p for f, p in marks.items() if not lost(f)})
        errors += [np.linalg.norm(estimates[f] - truth[f]) for f in FINDINGS if lost(f)]
    # discs tilt and foramina differ from level to level and from person to person, which no neighbour tells
    assert np.median(errors) < 3.0
    assert max(errors) < 8.0


def test_a_canal_without_any_point_is_looked_for_between_the_sides(studies):
    for marks, truth in studies:
        estimates = estimated_points({f: p for f, p in marks.items() if f.condition.side is not None})
        canals = [f for f in estimates if f.condition.side is None]
        assert len(canals) == 5
        assert max(np.abs(estimates[f] - truth[f])[[0, 2]].max() for f in canals) < 10.0


def test_one_condition_alone_is_continued_by_one_level_and_tells_nothing_of_others(studies):
    marks, truth = studies[0]
    canal = [Finding(Condition.SPINAL_CANAL_STENOSIS, level) for level in Level]
    estimates = estimated_points({f: marks[f] for f in canal[2:]})
    assert set(estimates) == {canal[1]}
    assert np.linalg.norm(estimates[canal[1]] - truth[canal[1]]) < 10
    assert estimated_points({}) == {}


def test_only_moved_points_are_off_their_level(studies):
    for marks, _ in studies:
        assert off_level(marks) == {}
        finding = Finding(Condition.SPINAL_CANAL_STENOSIS, Level.L2_L3)
        moved = {**marks, finding: marks[finding] + [0, 0, 30.0]}
        assert off_level(moved).keys() == {finding}


def test_a_condition_named_one_level_up_is_off_at_every_level(studies):
    levels = list(Level)
    for marks, _ in studies:
        canal = {f: p for f, p in marks.items() if f.condition.side is None and f.level is not levels[0]}
        others = {f: p for f, p in marks.items() if f.condition.side is not None}
        up = {Finding(f.condition, levels[levels.index(f.level) - 1]): p for f, p in canal.items()}
        assert set(off_level({**others, **up})) >= set(up)


def heights(findings, *millimetres):
    return {finding: np.array([0.0, 0.0, mm]) for finding, mm in zip(findings, millimetres, strict=False)}


def test_a_point_at_the_height_of_the_level_above_is_out_of_order():
    assert contradictions(heights(CANAL, 60.0, 30.0, 29.0)) == []
    assert contradictions(heights(CANAL, 60.0, 30.0, 30.0)) == [(CANAL[2], Code.LEVELS_OUT_OF_ORDER, "not below L2/L3")]


@pytest.mark.parametrize(("x", "swapped"), [(-0.1, False), (0.0, True), (0.1, True)])
def test_a_left_point_must_lie_to_the_left_of_its_right_one(x, swapped):
    points = {LEFT_RECESS[0]: np.array([x, 0.0, 0.0]), RIGHT_RECESS[0]: np.zeros(3)}
    expected = [(LEFT_RECESS[0], Code.SIDES_SWAPPED, f"left x {x:.1f} mm, right x 0.0 mm")]
    assert contradictions(points) == expected * swapped


@pytest.mark.parametrize(("beyond", "off"), [(15.0, False), (15.1, True), (-15.0, False), (-15.1, True)])
def test_a_point_is_off_its_level_beyond_half_the_distance_of_levels(beyond, off):
    points = heights(LEFT_FORAMEN, 60.0, 30.0) | heights(LEFT_RECESS, 60.0, 30.0)
    right = {RIGHT_RECESS[1]: np.array([5.0, 0.0, 30.0 + beyond])}
    assert off_level(points | right) == ({RIGHT_RECESS[1]: pytest.approx(beyond)} if off else {})
    expected = f"15 mm {'above' if beyond > 0 else 'below'} the level's others"
    assert contradictions(points | right) == [(RIGHT_RECESS[1], Code.OFF_LEVEL, expected)] * off


def test_levels_at_one_height_do_not_narrow_the_limit():
    points = heights(LEFT_FORAMEN, 60.0, 30.0, 30.0) | heights(LEFT_RECESS, 60.0, 30.0, 30.0)
    assert off_level(points | heights(RIGHT_RECESS, 60.0, 20.0, 30.0)) == {}


def test_a_point_is_judged_by_two_others_at_least():
    points = heights(LEFT_FORAMEN, 60.0, 30.0, 0.0) | heights(LEFT_RECESS, 60.0)
    assert off_level(points | heights(CANAL, 60.0, -30.0)) == {}
    assert off_level({}) == {}


def test_neighbours_skip_levels_without_a_point():
    points = heights(CANAL[1::2], 0.0, -30.0) | heights(RIGHT_RECESS[:1], 0.0)
    assert list(neighbours(points)) == [(CANAL[1], CANAL[3])]


def test_a_column_is_continued_at_its_own_slope():
    estimates = estimated_points(heights([CANAL[0], CANAL[2]], 60.0, 10.0))
    assert {finding: point[2] for finding, point in estimates.items()} == {CANAL[1]: 35.0, CANAL[3]: -15.0}


def test_another_condition_is_shifted_as_at_the_nearest_levels():
    left = heights(LEFT_FORAMEN, 60.0, 30.0, 0.0, -30.0, -60.0)
    right = heights([RIGHT_FORAMEN[0], RIGHT_FORAMEN[3]], 61.0, -26.0)
    estimates = estimated_points(left | right)
    shifts = {
        f.level: float(estimates[f][2] - left[LEFT_FORAMEN[n]][2])
        for n, f in enumerate(RIGHT_FORAMEN)
        if f in estimates
    }
    assert shifts == {Level.L2_L3: 1.0, Level.L3_L4: 4.0, Level.L5_S1: 4.0}


def test_equally_near_levels_count_alike_and_conditions_too():
    left = heights(LEFT_FORAMEN, 60.0, 30.0, 0.0)
    right = heights(RIGHT_FORAMEN[::2], 62.0, 4.0)
    recess = heights(LEFT_RECESS, 60.0, 36.0, 0.0)
    assert estimated_points(left | right)[RIGHT_FORAMEN[1]][2] == 33.0
    assert estimated_points(left | right | recess)[RIGHT_FORAMEN[1]][2] == 36.0


def test_a_canal_without_any_point_lies_between_the_recesses_before_the_foramina():
    recesses = {LEFT_RECESS[0]: np.array([-8.0, 0, 3.0]), RIGHT_RECESS[0]: np.array([10.0, 0, 1.0])}
    foramina = {LEFT_FORAMEN[n]: np.array([-18.0, 0, 9.0]) for n in (0, 1)}
    foramina |= {RIGHT_FORAMEN[n]: np.array([18.0, 0, 9.0]) for n in (0, 1)}
    estimates = estimated_points(recesses | foramina)
    assert estimates[CANAL[0]].tolist() == [1.0, 0.0, 2.0]
    assert estimates[CANAL[1]].tolist() == [0.0, 0.0, 9.0]
    assert CANAL[0] not in estimated_points({LEFT_RECESS[0]: np.zeros(3)})
