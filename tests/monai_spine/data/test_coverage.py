"""Which stack serves a point: properties of planes and images in any position."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from monai_spine.data.coverage import (
    PLANE_LIMIT_MM,
    VIEWS,
    Coverage,
    Grid,
    coverage_of,
    nearest_showing,
    why_not_covered,
)
from monai_spine.geometry import contains, plane_distance, to_world
from monai_spine.spine import Condition, Group, SeriesType

SHAPE = (20, 30, 9)
seeds = st.integers(0, 10_000)


def grid(seed: int, step: float = 4.0) -> Grid:
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed).as_matrix() * [0.6, 0.9, step] * [1, -1, 1]
    affine[:3, 3] = rng.normal(0, 100, 3)
    return Grid(affine, SHAPE)


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(0, 8), st.floats(0, 19), st.floats(0, 29), st.floats(-1.9, 1.9))
def test_a_point_beside_a_slice_has_that_slice_at_that_distance(
    seed: int, k: int, i: float, j: float, beside: float
) -> None:
    stack = grid(seed)
    found = coverage_of(stack, to_world(stack.affine, [i, j, k + beside / 4.0]))
    edges = np.array([(i + 0.5) * 0.6, (19.5 - i) * 0.6, (j + 0.5) * 0.9, (29.5 - j) * 0.9])
    assert found.k == k
    assert found.distance == pytest.approx(abs(beside), abs=1e-6)
    assert found.margin == pytest.approx(edges.min(), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(seeds, st.lists(st.floats(-60, 60), min_size=3, max_size=3))
def test_distance_and_cover_agree_with_the_geometry_module(seed: int, offset: list[float]) -> None:
    stack = grid(seed)
    point = to_world(stack.affine, (np.array(SHAPE) - 1) / 2) + offset
    found = coverage_of(stack, point)
    assert found.distance == pytest.approx(float(plane_distance(stack.affine, SHAPE, point)), abs=1e-6)
    if contains(stack.affine, SHAPE, point):
        assert found.margin >= 0
        assert found.shows()


@pytest.mark.parametrize(
    ("i", "j", "outside"), [(-5.5, 10, 3.0), (10, 35.5, 5.4), (-5.5, 35.5, float(np.hypot(3, 5.4)))]
)
def test_a_point_outside_of_the_image_is_that_far_outside(i: float, j: float, outside: float) -> None:
    stack = grid(3)
    found = coverage_of(stack, to_world(stack.affine, [i, j, 4]))
    assert found.margin == pytest.approx(-outside)
    assert not found.shows()


def test_a_sheared_stack_is_judged_at_the_foot_in_its_plane() -> None:
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    affine[0, 2] = 2.0
    found = coverage_of(Grid(affine, SHAPE), [2.0, 5.0, 4.0])
    assert (found.k, found.distance) == (1, 0.0)
    assert found.margin == pytest.approx(0.5)


def test_beyond_the_last_slice_the_distance_grows_and_the_limit_cuts() -> None:
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    reached = [
        coverage_of(Grid(affine, SHAPE), [10, 10, 32 + beyond]).shows() for beyond in (0, PLANE_LIMIT_MM, 5.01, 40)
    ]
    assert reached == [True, True, False, False]


def test_the_nearest_plane_serves_and_the_first_of_equals() -> None:
    near, far, outside, beyond = (
        Coverage(2, 0.5, 9.0),
        Coverage(1, 1.5, 30.0),
        Coverage(4, 0.1, -1.0),
        Coverage(0, 7.0, 9.0),
    )
    assert nearest_showing([far, near, outside, beyond]) == 1
    assert nearest_showing([outside, near, near]) == 1
    assert nearest_showing([outside, beyond]) is None
    assert nearest_showing([]) is None


def test_a_condition_is_viewed_first_where_annotators_marked_it() -> None:
    assert all(VIEWS[condition.group][0] is condition.series_type for condition in Condition)
    assert set(VIEWS) == set(Group)
    assert all(SeriesType.SAGITTAL_T1 not in views[1:] for views in VIEWS.values())


def test_a_point_on_the_edge_of_the_image_at_the_limit_of_the_distance_is_shown() -> None:
    assert Coverage(0, PLANE_LIMIT_MM, 0.0).shows()
    assert not Coverage(0, PLANE_LIMIT_MM, -1e-9).shows()


def test_of_some_slices_the_nearest_of_these_counts() -> None:
    stack = Grid(np.diag([1.0, 1.0, 4.0, 1.0]), SHAPE)
    shown = coverage_of(stack, [10, 10, 13.0], slices=[0, 2, 6])
    assert (shown.k, shown.distance) == (2, pytest.approx(5.0))
    assert coverage_of(stack, [10, 10, 13.0]).k == 3


def test_the_reason_is_about_the_stack_that_comes_closest() -> None:
    axial = SeriesType.AXIAL_T2
    near, far, beside = Coverage(0, 6.04, 3.0), Coverage(0, 9.0, 3.0), Coverage(0, PLANE_LIMIT_MM, -2.0)
    assert why_not_covered(axial, []) == "no Axial T2"
    assert why_not_covered(axial, [far, near]) == "Axial T2: nearest plane 6.0 mm away"
    # a stack with a near plane comes closer than any without, though its image ends before the point
    assert why_not_covered(axial, [near, beside, far]) == "Axial T2: 2.0 mm outside of the image"
    assert why_not_covered(axial, [Coverage(0, 1.0, -8.0), beside]) == "Axial T2: 2.0 mm outside of the image"
    # the distance to the plane and that to the image add up
    assert (
        why_not_covered(axial, [Coverage(0, 6.0, -9.0), Coverage(0, 7.0, 4.0)]) == "Axial T2: nearest plane 7.0 mm away"
    )
