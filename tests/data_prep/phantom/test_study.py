"""A study: ids, series and their numbers, and what quirks leave alone."""

import numpy as np
import pytest

from data_prep.choices import PhantomSize
from data_prep.phantom.quirks import NONE, Quirk
from data_prep.phantom.study import draw_study, study_id
from monai_spine.spine import SeriesType


def test_ids_are_unique_and_some_exceed_int32():
    ids = [study_id(0, index) for index in range(500)]
    assert len(set(ids)) == 500
    assert any(int(name) > 2**31 for name in ids)


def test_instance_numbers_rise_to_the_left_in_two_of_three_sagittal_series():
    leftwards = []
    for index in range(150):
        first = draw_study(0, index, PhantomSize.SMALL).series[0].stacks[0]
        rightwards = first.scan.affine[0, 2] > 0
        leftwards.append((first.instances[0] < first.instances[-1]) != rightwards)
    assert np.mean(leftwards) == pytest.approx(1261 / 1965, abs=0.12)


def test_no_quirk_is_forced_on_a_clean_study():
    assert draw_study(0, 0, PhantomSize.SMALL).quirks == NONE


def test_axial_series_number_two_to_four():
    counts = []
    for index in range(120):
        series = draw_study(2, index, PhantomSize.SMALL, frozenset({Quirk.SEVERAL_AXIAL})).series
        counts.append(sum(one.series_type is SeriesType.AXIAL_T2 for one in series))
    assert set(counts) == {2, 3, 4}
    assert counts.count(2) > counts.count(3) > counts.count(4)


def test_left_and_right_of_a_level_may_be_marked_in_different_series():
    apart = 0
    for index in range(40):
        study = draw_study(2, index, PhantomSize.SMALL, frozenset({Quirk.SEVERAL_AXIAL}))
        where = {point.finding: point.series for point in study.points}
        apart += any(where.get(f.flipped, name) != name for f, name in where.items() if f.condition.side)
    assert apart > 5


def test_quirks_do_not_change_labels():
    plain = [draw_study(3, index, PhantomSize.SMALL).findings.labels for index in range(5)]
    odd = [draw_study(3, index, PhantomSize.SMALL, frozenset({Quirk.L6})).findings.labels for index in range(5)]
    assert np.array_equal(plain, odd)
