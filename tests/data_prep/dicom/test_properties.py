"""The geometry of any stack: in any orientation and order of files, positions and values are those of the headers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from data_prep.dicom.convert import convert
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.sources import Source
from data_prep.dicom.stacks.splitting import split
from monai_spine.geometry import slice_normal
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle

FAST = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)


def turned(angles: tuple[float, float, float]) -> tuple[float, ...]:
    """An orientation turned by Euler angles, rounded as headers round it."""
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return tuple(np.concatenate([matrix[:, 0], matrix[:, 1]]).round(9))


@FAST
@given(angles=ANGLES, order=st.permutations(range(5)), spacing=st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)))
def test_any_orientation_in_any_file_order_is_right(
    angles: tuple[float, float, float], order: list[int], spacing: tuple[float, float]
) -> None:
    images = factory.series(5, orientation=turned(angles), spacing=[round(value, 5) for value in spacing])
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in", Path(folder) / "out"
        factory.write(source, [images[n] for n in order])
        convert(source, out, format="nii", quiet=True)
        assert oracle.check(source, out) == {"used": 5}


@FAST
@given(order=st.permutations(range(12)))
def test_stacks_do_not_depend_on_the_order_of_files(order: list[int]) -> None:
    images = factory.series(6, orientation=factory.AXIAL) + factory.series(
        6, orientation=turned((9, 0, 0)), origin=(0, 0, 60), first_instance=7
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = factory.write(Path(folder), images)
        frames = [read_header(Source(path.name, str(path))).frames[0] for path in paths]
        expected = [[frame.path for frame in stack.frames] for stack in split(frames)]
        found = [[frame.path for frame in stack.frames] for stack in split([frames[n] for n in order])]
    assert found == expected


@pytest.mark.parametrize("descending", [False, True])
def test_laterality_follows_positions_not_instance_numbers(tmp_path: Path, descending: bool) -> None:
    """A mark on the patient's left stays on the left, in whichever direction the scanner counted the slices."""
    images = factory.series(5, orientation=factory.SAGITTAL, origin=(50, -90, 120), step=20.0)
    for image in images:
        on_left = float(image.ImagePositionPatient[0]) > 0  # LPS: +x is left
        factory.set_pixels(image, np.full((12, 10), 1000 if on_left else 0))
    for number, image in enumerate(reversed(images) if descending else images, start=1):
        image.InstanceNumber = number
    factory.write(tmp_path / "in", images)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    volume = nib.load(next((tmp_path / "out").rglob("*.nii.gz")))
    bright = np.argwhere(volume.get_fdata() > 500)
    assert nib.affines.apply_affine(volume.affine, bright)[:, 0].max() < 0  # RAS: left is negative


@pytest.mark.parametrize("orientation", [factory.SAGITTAL, factory.CORONAL, factory.AXIAL])
def test_columns_rows_and_slices_are_the_three_axes(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    factory.write(tmp_path / "in", factory.series(5, orientation=orientation))
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    volume = nib.load(next((tmp_path / "out").rglob("*.nii.gz")))
    assert volume.shape == (10, 12, 5)
    assert np.linalg.det(volume.affine) > 0
    assert volume.header.get_xyzt_units()[0] == "mm"
    assert (volume.header["qform_code"], volume.header["sform_code"]) == (1, 1)
    assert np.allclose(volume.get_qform(), volume.get_sform(), atol=1e-4)
    assert slice_normal(volume.affine) @ volume.affine[:3, 2] > 0


@FAST
@given(jitter=st.lists(st.floats(-0.01, 0.01), min_size=8, max_size=8))
def test_rounding_of_positions_is_tolerated(jitter: list[float]) -> None:
    images = factory.series(8)
    for image, shift in zip(images, jitter, strict=True):
        image.ImagePositionPatient = [float(image.ImagePositionPatient[0]) + round(shift, 4), -90, 120]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in", Path(folder) / "out"
        factory.write(source, images)
        convert(source, out, format="nii", quiet=True)
        assert oracle.check(source, out) == {"used": 8}


@FAST
@given(slice_number=st.integers(0, 7), shift=st.floats(0.11, 1.9), axis=st.integers(0, 2))
def test_a_slice_out_of_place_is_never_converted(slice_number: int, shift: float, axis: int) -> None:
    images = factory.series(8)
    place = [float(value) for value in images[slice_number].ImagePositionPatient]
    place[axis] = round(place[axis] + shift, 4)
    images[slice_number].ImagePositionPatient = place
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in", Path(folder) / "out"
        factory.write(source, images)
        convert(source, out, format="nii", quiet=True)
        assert set(oracle.verdicts(out)) <= {"UNEVEN_SPACING", "SHEARED", "MISSING_SLICE"}
