"""Which stack serves which finding of a study, how it is told, and where unmarked findings are looked for."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.choices import PhantomSize
from data_prep.collection.cover_table import COLUMNS, cover_rows
from data_prep.collection.faults import MEANINGS, FaultKind
from data_prep.collection.point_checks import off_level
from data_prep.collection.point_estimates import estimated_points
from data_prep.phantom.study import draw_study
from monai_spine.data.coverage import Grid
from monai_spine.spine import FINDINGS, Condition, Finding, Group, Level, SeriesType

STUDIES = 12
RECESS = [Finding(condition, Level.L3_L4) for condition in Condition if condition.group is Group.SUBARTICULAR]


@pytest.fixture(scope="module")
def studies():
    """Label points (RAS mm) and true places of findings."""
    drawn = [draw_study(9, n, PhantomSize.SMALL) for n in range(STUDIES)]
    marks = [{point.finding: point.world for point in study.points} for study in drawn]
    truths = [{finding: study.anatomy.position(finding) for finding in FINDINGS} for study in drawn]
    return list(zip(marks, truths, strict=True))


def axial(z, slices=3, x=0.0):
    """An axial stack of 100 x 100 mm around x whose first plane lies at z, 4 mm apart."""
    affine = np.diag([-1.0, -1.0, 4.0, 1.0])
    affine[:3, 3] = [x + 49.5, 49.5, z]
    return Grid(affine, (100, 100, slices))


def rows_of(rows, finding):
    return [row for row in rows if row.target == finding.name and row.series_type == "axial_t2"]


def test_left_and_right_of_a_level_may_be_served_by_different_series():
    left, right = RECESS
    stacks = {SeriesType.AXIAL_T2: [("a", axial(0)), ("b", axial(20))]}
    rows, faults = cover_rows("s", {left: np.array([-10, 0, 3.0]), right: np.array([10, 0, 21.0])}, stacks)
    serving = {row.target: (row.nifti, row.k) for row in rows if row.serves == "yes"}
    assert (serving[left.name], serving[right.name]) == (("a", "1"), ("b", "0"))
    assert not [fault for fault in faults if fault.target in serving]


def test_the_nearer_of_two_stacks_serves_and_the_other_says_so():
    (left, _) = RECESS
    stacks = {SeriesType.AXIAL_T2: [("a", axial(0)), ("b", axial(1))]}
    far, near = rows_of(cover_rows("s", {left: np.array([0, 0, 5.0])}, stacks)[0], left)
    assert (far.serves, far.distance_mm, far.reason) == ("no", "1.00", "a plane of b is nearer")
    assert (near.serves, near.distance_mm, near.reason) == ("yes", "0.00", "nearest plane")


def test_a_level_beyond_the_stack_is_a_fault_in_words_and_millimetres():
    (left, _) = RECESS
    rows, faults = cover_rows("s", {left: np.array([0, 0, 20.0])}, {SeriesType.AXIAL_T2: [("a", axial(0))]})
    assert [fault.detail for fault in faults if fault.target == left.name] == [
        "no axial plane within 5 mm of L3/L4: the nearest is 12.0 mm away; nothing stands in"
    ]
    assert rows_of(rows, left)[0].reason == "the nearest plane is 12.0 mm away, more than 5"


def test_a_point_beside_the_image_is_a_fault_too():
    (left, _) = RECESS
    _, faults = cover_rows("s", {left: np.array([0, 0, 0.0])}, {SeriesType.AXIAL_T2: [("a", axial(0, x=80.0))]})
    assert "no axial image shows L3/L4: it is 30.0 mm outside" in faults[0].detail


def test_axial_images_stand_in_for_a_canal_that_no_sagittal_plane_shows():
    canal = Finding(Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4)
    sagittal = Grid(np.array([[0, 0, 4.0, 30], [-1, 0, 0, 50], [0, -1, 0, 50], [0, 0, 0, 1]]), (100, 100, 5))
    stacks = {SeriesType.SAGITTAL_T2: [("t2", sagittal)], SeriesType.AXIAL_T2: [("a", axial(0))]}
    _, faults = cover_rows("s", {canal: np.zeros(3)}, stacks)
    (fault,) = [fault for fault in faults if fault.target == canal.name]
    assert fault.detail.endswith("the nearest is 30.0 mm away; Axial T2 stands in")


def test_without_points_nothing_is_known_and_one_row_says_so():
    rows, faults = cover_rows("s", {}, {SeriesType.AXIAL_T2: [("a", axial(0))]})
    assert [row.reason for row in rows] == ["no points: which stack covers which level is not known"]
    assert not faults
    assert len(rows[0].cells()) == len(COLUMNS)


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
    assert np.median(errors) < 2.5
    assert max(errors) < 6.0


def test_a_canal_without_any_point_is_looked_for_between_the_sides(studies):
    for marks, truth in studies:
        estimates = estimated_points({f: p for f, p in marks.items() if f.condition.side is not None})
        canals = [f for f in estimates if f.condition.side is None]
        assert len(canals) == 5
        assert max(np.abs(estimates[f] - truth[f])[[0, 2]].max() for f in canals) < 6.0


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


def test_every_kind_of_fault_is_explained_in_the_report_and_in_the_docs():
    docs = (Path(__file__).parents[2] / "docs" / "how-to" / "data.md").read_text()
    assert set(MEANINGS) == set(FaultKind)
    assert [kind.value for kind in FaultKind if f"`{kind.value}`" not in docs] == []
