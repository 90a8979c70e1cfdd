import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.geometry import (
    Plane,
    affine_from_dicom,
    centre,
    contains,
    dicom_pixel_to_world,
    grid_affine,
    obliquity,
    plane_distance,
    plane_of,
    shear,
    slice_corners,
    slice_normal,
    spacing,
    to_voxel,
    to_world,
)

AXIS_ORDERS = [
    np.diag(signs)[:, order]
    for order in itertools.permutations(range(3))
    for signs in itertools.product([1.0, -1.0], repeat=3)
]
"""All 48 ways to store the three axes."""

angles = st.floats(-3.1, 3.1)
steps = st.floats(0.2, 6.0)


def rotation(a: float, b: float, c: float) -> np.ndarray:
    def about(axis: int, angle: float) -> np.ndarray:
        i, j = [n for n in range(3) if n != axis]
        matrix = np.eye(3)
        matrix[i, i] = matrix[j, j] = np.cos(angle)
        matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
        return matrix

    return about(0, a) @ about(1, b) @ about(2, c)


def affine(matrix: np.ndarray, scale: np.ndarray, origin: np.ndarray) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3] = matrix * scale
    result[:3, 3] = origin
    return result


@given(st.tuples(angles, angles, angles), st.tuples(steps, steps, steps))
def test_voxel_and_world_are_each_others_inverse(turns: tuple, scale: tuple) -> None:
    matrix = affine(rotation(*turns), np.array(scale), np.array([3.0, -7.0, 11.0]))
    voxels = np.array([[0.0, 0, 0], [4, 5, 6], [-1, 2.5, 3]])
    assert np.allclose(to_voxel(matrix, to_world(matrix, voxels)), voxels, atol=1e-8)


@given(st.tuples(angles, angles, angles), st.tuples(steps, steps, steps))
def test_spacing_is_that_of_the_header_whatever_the_orientation(turns: tuple, scale: tuple) -> None:
    assert np.allclose(spacing(affine(rotation(*turns), np.array(scale), np.zeros(3))), scale)


@pytest.mark.parametrize("matrix", AXIS_ORDERS, ids=range(48))
def test_plane_is_that_of_the_third_axis_in_all_48_storage_orders(matrix: np.ndarray) -> None:
    stored = affine(matrix, np.array([0.5, 0.5, 4.0]), np.zeros(3))
    axis = int(np.abs(matrix[:, 2]).argmax())
    assert plane_of(stored) is (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)[axis]
    assert obliquity(stored) == pytest.approx(0, abs=1e-6)
    assert shear(stored) == pytest.approx(0, abs=1e-9)
    assert slice_normal(stored) == pytest.approx(matrix[:, 2])


@pytest.mark.parametrize("matrix", AXIS_ORDERS, ids=range(48))
def test_a_point_stays_where_it_is_however_the_volume_is_stored(matrix: np.ndarray) -> None:
    stored = affine(matrix, np.array([0.7, 0.7, 4.0]), np.array([5.0, 6.0, 7.0]))
    point = np.array([1.5, -2.5, 9.0])
    assert np.allclose(to_world(stored, to_voxel(stored, point)), point)


def test_a_dicom_pixel_follows_the_standards_formula() -> None:
    orientation, position = [0, 1, 0, 0, 0, -1], [12.0, -90.0, 120.0]
    world = dicom_pixel_to_world(orientation, position, [0.6, 0.5], [[10, 20]])
    lps = np.array([12.0, -90 + 10 * 0.5, 120 - 20 * 0.6])
    assert np.allclose(world, [lps * [-1, -1, 1]])


def test_rising_patient_left_in_dicom_is_falling_x_in_ras() -> None:
    stored = affine_from_dicom([0, 1, 0, 0, 0, -1], [-10, 0, 0], [1, 1], [4, 0, 0])
    assert to_world(stored, [0, 0, 0])[0] == 10
    assert to_world(stored, [0, 0, 1])[0] == 6


def test_a_sheared_stack_says_by_how_much() -> None:
    stored = affine_from_dicom([1, 0, 0, 0, 1, 0], [0, 0, 0], [1, 1], [0, 1.5, 4])
    assert shear(stored) == pytest.approx(1.5 / np.hypot(1.5, 4))


def test_the_corners_of_a_slice_are_its_outermost_voxel_centres() -> None:
    stored = np.diag([2.0, 3.0, 4.0, 1.0])
    corners = slice_corners(stored, (5, 6, 7), 2)
    assert corners.tolist() == [[0, 0, 8], [8, 0, 8], [0, 15, 8], [8, 15, 8]]


def test_the_middle_of_a_volume_lies_between_its_outermost_voxels() -> None:
    assert centre(np.diag([2.0, 3.0, 4.0, 1.0]), (5, 6, 7)).tolist() == [4, 7.5, 12]


def test_a_grid_has_its_middle_where_it_was_asked_for() -> None:
    grid = grid_affine([1.0, 2.0, 3.0], [4, 5, 6], [4.0, 1.5, 2.0])
    assert np.allclose(centre(grid, (4, 5, 6)), [1, 2, 3])
    assert np.allclose(spacing(grid), [4, 1.5, 2])


def test_points_just_outside_the_outer_voxels_are_not_contained() -> None:
    inside = contains(np.eye(4), (4, 4, 4), [[0, 0, 0], [3.4, 3, 3], [3.6, 3, 3], [-0.6, 0, 0]])
    assert inside.tolist() == [True, True, False, False]


@given(st.floats(-30, 50))
def test_distance_to_the_nearest_plane_is_that_of_a_search_over_all_slices(z: float) -> None:
    tilt = rotation(0.3, 0.1, 0.0)
    stored = affine(tilt, np.array([0.5, 0.5, 4.0]), np.array([1.0, 2.0, 3.0]))
    point = stored[:3, 3] + tilt[:, 2] * z + tilt[:, 0] * 7
    searched = min(abs(z - 4.0 * k) for k in range(6))
    assert plane_distance(stored, (10, 10, 6), point) == pytest.approx(searched, abs=1e-9)


def test_a_volume_ends_half_a_voxel_beyond_the_outer_voxel_centres() -> None:
    stored = np.diag([2.0, 4.0, 8.0, 1.0])
    edges = to_world(stored, [[-0.5, -0.5, -0.5], [2.5, 3.5, 4.5], [2.5, -0.5, 4.5]])
    assert contains(stored, (3, 4, 5), edges).all()
    for axis in range(3):
        for edge, outwards in ((-0.5, -0.01), (np.array([2.5, 3.5, 4.5])[axis], 0.01)):
            voxel = np.ones(3)
            voxel[axis] = edge + outwards
            assert not contains(stored, (3, 4, 5), to_world(stored, voxel))


@pytest.mark.parametrize(("degrees", "expected"), [(0.0, 0.0), (20.0, 20.0), (-20.0, 20.0), (45.0, 45.0), (70.0, 20.0)])
def test_obliquity_is_the_angle_to_the_nearest_axis(degrees: float, expected: float) -> None:
    assert obliquity(affine(rotation(np.radians(degrees), 0, 0), np.ones(3), np.zeros(3))) == pytest.approx(expected)
