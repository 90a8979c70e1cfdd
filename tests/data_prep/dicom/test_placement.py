"""Where a volume lies: the affine puts every pixel where the DICOM standard puts it (PS3.3, C.7.6.2.1.1)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from data_prep.dicom import nifti
from data_prep.dicom.stacks import placement, regularity
from tests.data_prep.dicom.frames_of import moved, oriented, stack

LPS_TO_RAS = np.array([-1, -1, 1])
ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)


def pixel(frame: object, column: float, row: float) -> np.ndarray:
    """RAS mm of a pixel by the formula of the standard."""
    geometry = frame.geometry
    x, y = np.asarray(geometry.orientation[:3]), np.asarray(geometry.orientation[3:])
    return (
        np.asarray(geometry.position) + x * geometry.spacing[1] * column + y * geometry.spacing[0] * row
    ) * LPS_TO_RAS


@given(angles=ANGLES, spacing=st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)), step=st.floats(0.5, 9))
def test_affine_puts_every_pixel_where_its_header_does(angles, spacing, step):
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    frames = stack(5, step, orientation=(*matrix[:, 0], *matrix[:, 1]), spacing=spacing, origin=(12, -90, 40))
    affine = placement.affine([frames], regularity.step(frames))
    for k, frame in enumerate(frames):
        for column, row in ((0, 0), (9, 0), (0, 11), (4, 7)):
            assert (affine @ [column, row, k, 1])[:3] == pytest.approx(pixel(frame, column, row), abs=1e-9)
    assert placement.corner_errors(affine, frames).max() < 1e-9


def test_affine_has_the_mean_of_orientations_and_spacings() -> None:
    frames = stack(4, orientation=oriented(0.002, 2), spacing=(0.7, 0.5))
    frames[1:3] = [
        replace(one, geometry=replace(one.geometry, orientation=oriented(-0.002, 2), spacing=(0.702, 0.502)))
        for one in frames[1:3]
    ]
    affine = placement.affine([frames[:2], frames[2:]], np.array([0, 0, 4.0]))
    assert affine[:3, 0] == pytest.approx([-0.501, 0, 0], abs=1e-7)
    assert affine[:3, 1] == pytest.approx([0, -0.701, 0], abs=1e-7)
    assert affine[:3, 2] == pytest.approx([0, 0, 4])


def test_affine_of_equal_headers_has_their_numbers_to_the_last_bit() -> None:
    frames = stack(7, spacing=(0.1, 0.1))
    affine = placement.affine([frames], np.array([0, 0, 4.0]))
    assert (affine[0, 0], affine[1, 1]) == (-0.1, -0.1)


def test_corner_errors_are_those_of_each_slice_and_corner() -> None:
    frames = stack(4)
    affine = placement.affine([frames], regularity.step(frames))
    frames[2] = moved(frames[2], (3, 4, 12))
    assert placement.corner_errors(affine, frames).round(9).tolist() == [[0] * 4, [0] * 4, [13] * 4, [0] * 4]
    stretched = [replace(one, geometry=replace(one.geometry, spacing=(0.8, 0.9))) for one in stack(1)]
    errors = placement.corner_errors(affine, stretched)
    assert errors.tolist() == [pytest.approx([0, 9 * 0.4, 11 * 0.1, np.hypot(9 * 0.4, 11 * 0.1)])]


@pytest.mark.parametrize(("t", "k"), [(0, 0), (1, 2), (2, 1)])
def test_worst_corner_is_of_the_slice_that_is_off(t: int, k: int) -> None:
    volumes = [stack(3, first=1 + 10 * n) for n in range(3)]
    affine = placement.affine(volumes, regularity.step(volumes[0]))
    volumes[t][k] = moved(volumes[t][k], (0, 0.5, 0))
    error, frame = placement.worst_corner(affine, volumes)
    assert (error, frame) == (pytest.approx(0.5), volumes[t][k])


def test_rigid_is_the_affine_itself_without_shear() -> None:
    frames = stack(5, orientation=oriented(33, 1))
    affine = placement.affine([frames], regularity.step(frames))
    assert placement.rigid(affine, (10, 12, 5)) == pytest.approx(affine, abs=1e-9)


@given(shear=st.floats(-0.2, 0.2))
def test_rigid_has_right_angles_the_same_voxel_sizes_and_the_same_centre(shear):
    affine = np.array([[0.5, 0, shear, -20], [0, 0.7, 0, 30], [0, 0, 4, 5], [0, 0, 0, 1.0]])
    rigid = placement.rigid(affine, (10, 12, 5, 7))
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    assert rigid[:3, :3].T @ rigid[:3, :3] == pytest.approx(np.diag(sizes**2), abs=1e-9)
    centre = np.array([4.5, 5.5, 2, 1])
    assert rigid @ centre == pytest.approx(affine @ centre)
    assert rigid[3].tolist() == [0, 0, 0, 1]


def test_rigid_is_nearer_than_any_axis_kept_as_it_is() -> None:
    """The polar decomposition shares the shear among the axes, whatever their voxel sizes are."""
    affine = np.array([[0.5, 0, 0.4, 0], [0, 0.7, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1.0]])
    angle = np.arctan2(*placement.rigid(affine, (2, 2, 2))[[0, 2], 2])
    assert angle == pytest.approx(np.arctan(0.1) / 2, rel=0.02)


@pytest.mark.parametrize("turn", [1e-6, 1e-4, 3e-4, 6e-4, 8e-4, 1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0.02, 1, 0.01), (0.1, 0.99, 0.05), (0.6, 0.7, 0.4)])
def test_qform_near_180_degrees_is_what_readers_make_of_it_and_near_the_rotation(turn: float, axis: tuple) -> None:
    """A near-axial volume of 220 x 220 x 88 mm; rounding alone put corners up to 0.35 mm off."""
    vector = np.array(axis) / np.linalg.norm(axis) * (np.pi - turn)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(vector).as_matrix() * (0.6875, 0.6875, 4.4)
    shape = (320, 320, 20)
    header = nib.Nifti1Header(nifti.header(shape, np.dtype("i2"), affine, 1.0, 0.0)[:348])
    read = header.get_qform()
    corners = np.array(list(itertools.product(*((0, size - 1) for size in shape))))
    errors = [
        np.linalg.norm(corners @ (one - affine)[:3, :3].T + (one - affine)[:3, 3], axis=1).max()
        for one in (read, placement.qform(affine, shape))
    ]
    assert errors[0] <= errors[1] + 1e-3
    assert errors[1] < 0.1
