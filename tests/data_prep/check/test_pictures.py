"""Panels of the report: what is drawn lies where it is in the patient, however the volume is stored."""

from __future__ import annotations

import base64
import io
from itertools import permutations, product

import numpy as np
import pytest
from PIL import Image

from data_prep.check.entries import Study
from data_prep.check.pictures import WIDTH, View, panels
from monai_spine.data.volume import Volume
from monai_spine.geometry import grid_affine, to_world
from monai_spine.spine import FINDINGS, SeriesType

SHAPE = (40, 30, 24)
SPACING = (1.0, 2.0, 3.0)
BRIGHT = (9, 21, 17)


def stored(slice_axis: int, turned: bool, flips: tuple[bool, ...]) -> tuple[Volume, np.ndarray]:
    """A volume with one bright voxel, stored with its slices along a world axis, and where in RAS mm the voxel is."""
    voxels, affine = np.zeros(SHAPE, dtype=np.float32), grid_affine((5, -20, 30), SHAPE, SPACING)
    voxels[BRIGHT] = 100.0
    place = to_world(affine, BRIGHT)
    for axis in np.flatnonzero(flips):
        affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
        affine[:3, axis] *= -1
        voxels = np.flip(voxels, axis)
    in_plane = [axis for axis in range(3) if axis != slice_axis]
    order = [*(in_plane[::-1] if turned else in_plane), slice_axis]
    affine[:, :3] = affine[:, order]
    return Volume(voxels.transpose(order), affine), place


def decoded(source: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))), dtype=float)


@pytest.mark.parametrize("slice_axis", range(3))
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("flips", list(product((False, True), repeat=3)))
def test_a_bright_voxel_is_seen_where_its_point_is_drawn(slice_axis, turned, flips):
    volume, place = stored(slice_axis, turned, flips)
    k = int(np.argmax(volume.voxels.max(axis=(0, 1))))
    view = View(volume, k)
    picture = decoded(view.source())
    row, column = np.unravel_index(int(picture.argmax()), picture.shape)
    scale = picture.shape[1] / WIDTH
    x, y = view.place(place)
    pixel = WIDTH / min(volume.shape[:2])
    assert abs((column + 0.5) / scale - x) < pixel
    assert abs((row + 0.5) / scale - y) < pixel
    assert view.distance(place) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("flips", list(product((False, True), repeat=3)))
@pytest.mark.parametrize(("slice_axis", "left", "top"), [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_front_or_the_right_side_is_on_the_left_and_the_head_or_front_on_top(slice_axis, left, top, flips):
    volume, place = stored(slice_axis, False, flips)
    view = View(volume, 0)
    x, y = view.place(place)
    step = np.eye(3)
    assert view.place(place + step[left])[0] < x
    assert view.place(place + step[top])[1] < y


def test_proportions_are_those_of_the_patient():
    for order in permutations(range(3)):
        affine = grid_affine((0, 0, 0), SHAPE, SPACING)
        affine[:, :3] = affine[:, list(order)]
        view = View(Volume(np.zeros(SHAPE, dtype=np.float32).transpose(order), affine), 0)
        across, down = sorted(order[:2])
        expected = WIDTH * SHAPE[down] * SPACING[down] / (SHAPE[across] * SPACING[across])
        assert view.height == pytest.approx(expected)


def test_a_study_without_volumes_has_panels_that_say_so(tmp_path):
    series = {SeriesType.SAGITTAL_T1: (), SeriesType.SAGITTAL_T2: ("gone.nii",), SeriesType.AXIAL_T2: ("../up.nii",)}
    study = Study(0, "test", "1", "1", None, series, None, {FINDINGS[0]: (0.0, 0.0, 0.0)})
    captions = [panel.caption for panel in panels(study, tmp_path, [], [])]
    assert captions[0] == "no volume in the datalist"
    assert captions[1] == "gone.nii: there is no such file"
    assert captions[2].startswith("../up.nii: the path")
