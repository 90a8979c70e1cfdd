"""Which stack is the source of which finding of a study, and where findings without a point are searched for."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.collection.codes import Code
from data_prep.collection.coverage_table import COLUMNS, coverage_cells, coverage_rows
from monai_spine.data.coverage import Grid
from monai_spine.spine import Condition, Finding, Group, Level, SeriesType

RECESS = [Finding(condition, Level.L3_L4) for condition in Condition if condition.group is Group.SUBARTICULAR]


def axial(z, slices=3, x=0.0):
    """An axial stack of 100 x 100 mm around x whose first plane lies at z, 4 mm apart."""
    affine = np.diag([-1.0, -1.0, 4.0, 1.0])
    affine[:3, 3] = [x + 49.5, 49.5, z]
    return Grid(affine, (100, 100, slices))


def rows_of(rows, finding):
    return [row for row in rows if row.target == finding.name and row.series_type == "axial_t2"]


def test_left_and_right_of_a_level_may_have_different_source_series():
    left, right = RECESS
    stacks = {SeriesType.AXIAL_T2: [("a", axial(0)), ("b", axial(20))]}
    rows, faults = coverage_rows("s", {left: np.array([-10, 0, 3.0]), right: np.array([10, 0, 21.0])}, stacks)
    sources = {row.target: (row.nifti, row.k) for row in rows if row.source == "yes"}
    assert (sources[left.name], sources[right.name]) == (("a", "1"), ("b", "0"))
    assert not [fault for fault in faults if fault.targets[0] in sources]


def test_the_nearer_of_two_stacks_is_the_source_and_the_other_row_says_so():
    (left, _) = RECESS
    stacks = {SeriesType.AXIAL_T2: [("a", axial(0)), ("b", axial(1))]}
    far, near = rows_of(coverage_rows("s", {left: np.array([0, 0, 5.0])}, stacks)[0], left)
    assert (far.source, far.distance_mm, far.reason) == ("no", "1.00", "a plane of b is nearer")
    assert (near.source, near.distance_mm, near.reason) == ("yes", "0.00", "nearest plane")


def test_a_level_beyond_the_stack_is_a_fault_in_words_and_millimetres():
    (left, _) = RECESS
    rows, faults = coverage_rows("s", {left: np.array([0, 0, 20.0])}, {SeriesType.AXIAL_T2: [("a", axial(0))]})
    assert [fault.detail for fault in faults if fault.targets == (left.name,)] == [
        "L3/L4: Axial T2: nearest plane 12.0 mm away; no substitute shows it"
    ]
    assert rows_of(rows, left)[0].reason == "Axial T2: nearest plane 12.0 mm away"


def test_a_point_beside_the_image_is_a_fault_too():
    (left, _) = RECESS
    _, faults = coverage_rows("s", {left: np.array([0, 0, 0.0])}, {SeriesType.AXIAL_T2: [("a", axial(0, x=80.0))]})
    assert faults[0].detail.startswith("L3/L4: Axial T2: 30.0 mm outside of the image")


def test_axial_images_are_the_substitute_for_a_canal_that_no_sagittal_plane_shows():
    canal = Finding(Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4)
    sagittal = Grid(np.array([[0, 0, 4.0, 30], [-1, 0, 0, 50], [0, -1, 0, 50], [0, 0, 0, 1]]), (100, 100, 5))
    stacks = {SeriesType.SAGITTAL_T2: [("t2", sagittal)], SeriesType.AXIAL_T2: [("a", axial(0))]}
    _, faults = coverage_rows("s", {canal: np.zeros(3)}, stacks)
    (fault,) = [fault for fault in faults if fault.targets == (canal.name,)]
    assert fault.detail.endswith("nearest plane 30.0 mm away; Axial T2 is the substitute")


def test_without_points_nothing_is_known_and_one_row_says_so():
    rows, faults = coverage_rows("s", {}, {SeriesType.AXIAL_T2: [("a", axial(0))]})
    assert [row.reason for row in rows] == ["no points: which stack covers which level is not known"]
    assert not faults
    assert len(rows[0].cells()) == len(COLUMNS)


def test_a_stack_at_the_limit_shows_the_point_and_a_nearer_one_is_the_source():
    (left, _) = RECESS
    stacks = {SeriesType.AXIAL_T2: [("limit", axial(0)), ("near", axial(9)), ("beyond", axial(-1))]}
    rows = rows_of(coverage_rows("s", {left: np.array([0, 0, 13.0])}, stacks)[0], left)
    assert [(row.nifti, row.distance_mm, row.source, row.reason) for row in rows] == [
        ("limit", "5.00", "no", "a plane of near is nearer"),
        ("near", "0.00", "yes", "nearest plane"),
        ("beyond", "6.00", "no", "Axial T2: nearest plane 6.0 mm away"),
    ]


@pytest.mark.parametrize("x", [50.0, 49.5])
def test_a_point_at_the_edge_of_an_image_is_shown_by_it(x):
    (left, _) = RECESS
    stacks = {SeriesType.AXIAL_T2: [("edge", axial(0)), ("near", axial(1, x=40.0))]}
    rows = rows_of(coverage_rows("s", {left: np.array([x, 0, 5.0])}, stacks)[0], left)
    assert [(float(row.in_plane_mm), row.reason) for row in rows] == [
        (50 - x, "a plane of near is nearer"), (90 - x, "nearest plane"),
    ]  # fmt: skip


def test_a_study_without_a_series_type_says_so_in_every_view():
    canal = Finding(Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4)
    rows, faults = coverage_rows("s", {canal: np.zeros(3)}, {})
    assert not faults
    own = [row for row in rows if row.target == canal.name]
    assert [(row.view, row.source, row.reason) for row in own] == [
        ("1", "no", "no Sagittal T2/STIR"), ("2", "no", "no Axial T2"),
    ]  # fmt: skip
    assert {row.reason for row in rows if row.point == "unknown" and row.series_type == "axial_t2"} == {"no Axial T2"}


def test_a_finding_without_a_place_is_unknown_where_its_substitute_is_there():
    (left, _) = RECESS
    rows, _ = coverage_rows("s", {left: np.zeros(3)}, {SeriesType.SAGITTAL_T2: [("t2", axial(0))]})
    unknown = [row for row in rows if row.point == "unknown" and row.series_type == "sagittal_t1"]
    assert unknown
    assert {(row.source, row.reason) for row in unknown} == {
        ("", "no Sagittal T1; no point, and the study's other points give none")
    }


def test_estimated_places_are_said_to_be_estimated():
    left, right = RECESS
    above = {side: Finding(side.condition, Level.L2_L3) for side in RECESS}
    points = {left: np.zeros(3), above[left]: np.array([0, 0, 30.0]), above[right]: np.array([5.0, 0, 30.0])}
    rows, faults = coverage_rows("s", points, {SeriesType.AXIAL_T2: [("a", axial(100))]})
    assert {row.point for row in rows if row.target == right.name} == {"estimated"}
    (fault,) = [fault for fault in faults if fault.targets == (right.name,)]
    assert "100.0 mm away; its place is estimated; no substitute shows it" in fault.detail


def test_a_study_that_is_left_out_has_no_rows(tmp_path):
    assert coverage_cells("s", None, {RECESS[0]: np.zeros(3)}, tmp_path) == ([], [])


def test_every_code_is_explained_in_the_docs():
    (page,) = (Path(__file__).parents[3] / "docs").rglob("data.md")
    docs = page.read_text()
    assert [code.name for code in Code if f"`{code.name}`" not in docs] == []
