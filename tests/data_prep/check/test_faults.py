"""Each fault is made by hand in a clean data set, and exactly it is found."""

from __future__ import annotations

import copy
from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.check import run as checking
from data_prep.check.codes import Code
from data_prep.check.report import CheckedData
from data_prep.check.run import check
from data_prep.check.volumes import UnusableVolumeError, read
from data_prep.choices import MAX_BYTES
from data_prep.faults import Severity
from monai_spine.errors import ExitCode
from monai_spine.geometry import Plane
from tests.data_prep.check.cohort import Spoiled

CANAL = "spinal_canal_stenosis_"
LEFT, RIGHT = "left_neural_foraminal_narrowing_", "right_neural_foraminal_narrowing_"
RECESS = "left_subarticular_stenosis_"


@pytest.fixture
def data(clean_cohort, tmp_path):
    return Spoiled(clean_cohort, tmp_path / "data")


def found_in(data: Spoiled, **options) -> CheckedData:
    return check(data.save(), pictures=0, quiet=True, **options)[0]


def codes(checked: CheckedData) -> list[tuple[Code, int | None]]:
    return [(fault.code, fault.number) for fault in checked.faults]


def test_a_clean_data_set_has_no_fault(data):
    checked = found_in(data)
    assert codes(checked) == []
    assert checked.exit_code is ExitCode.DONE


def truncate(data):
    path = data.volume(1)
    data.write(path, path.read_bytes()[:5000])


def not_nifti(data):
    data.write(data.volume(1), b"DICM" * 100)


def four_dimensional(data):
    data.edit(1, lambda voxels, affine: (np.stack([voxels] * 2, axis=-1), affine))


def not_finite(data):
    def change(voxels, affine):
        voxels[3, 4, 5] = np.nan
        return voxels, affine

    data.edit(1, change)


def constant(data):
    data.edit(1, lambda voxels, affine: (np.full_like(voxels, 7), affine))


def singular(data):
    data.patch(1, 280, np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype="<f4").tobytes())


def sheared(data):
    def change(voxels, affine):
        affine[:3, 2] += 0.3 * affine[:3, 1]
        return voxels, affine

    data.edit(1, change)


def no_affine(data):
    data.patch(1, 252, bytes(4))


def two_affines(data):
    path = data.volume(1)
    image = nib.load(path)
    image.set_sform(image.affine, 1)
    moved = image.affine.copy()
    moved[:3, 3] += 20
    image.set_qform(moved, 1)
    changed = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    path.unlink()
    nib.save(changed, path)


def too_large(data):
    path = data.volume(1)
    header = nib.load(path).header
    header.set_data_dtype(np.uint8)
    header.set_data_shape((30000, 30000, 30000))
    assert MAX_BYTES < 4 * 30000**3
    path.unlink()
    path = path.with_name("huge.nii")
    path.write_bytes(header.binaryblock + bytes(4))
    data.entries[1]["sagittal_t2"] = [f"{path.parent.name}/huge.nii"]


def wrong_plane(data):
    turned = [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    data.edit(1, lambda voxels, affine: (voxels, np.array(turned, dtype=float) @ affine))


def missing_file(data):
    data.entries[1]["sagittal_t2"] = ["gone.nii.gz"]


def absolute_path(data):
    data.entries[1]["sagittal_t2"] = [str(data.volume(1))]


def climbing_path(data):
    data.entries[1]["sagittal_t2"] = [f"../{data.folder.name}/{data.entries[1]['sagittal_t2'][0]}"]


def point_outside(data):
    data.points(1)[CANAL + "l3_l4"][1] += 300


def sides_swapped(data):
    data.exchange(1, LEFT + "l3_l4", RIGHT + "l3_l4")


def out_of_order(data):
    data.exchange(1, CANAL + "l2_l3", CANAL + "l3_l4")


def another_height(data):
    data.points(1)[CANAL + "l5_s1"][2] -= 35


def too_close(data):
    data.keep_points(1, CANAL + "l3_l4", CANAL + "l4_l5")
    points = data.points(1)
    points[CANAL + "l4_l5"] = [*points[CANAL + "l3_l4"][:2], points[CANAL + "l3_l4"][2] - 10]


def too_far(data):
    data.keep_points(1, CANAL + "l2_l3", CANAL + "l5_s1")
    upper, lower = data.points(1).values()
    data.entries[1]["points"] = {CANAL + "l3_l4": upper, CANAL + "l4_l5": lower}


def study_twice(data):
    data.entries.append(copy.deepcopy(data.entries[1]))


def in_two_folds(data):
    data.entries[0]["patient_id"] = data.entries[1]["patient_id"]


def in_both_sections(data):
    moved = data.entries.pop(0)
    moved["patient_id"] = data.entries[0]["patient_id"]
    data.content["test"] = [moved]


def copied_image(data):
    data.write(data.volume(0), data.volume(1).read_bytes())


def copied_image_with_other_header(data):
    """The same values as floats: other bytes, the same image."""
    data.edit(1, lambda voxels, affine: (voxels, affine))
    data.write(data.volume(0), data.volume(1).read_bytes())
    data.edit(0, lambda voxels, affine: (voxels.astype(np.float64), affine))


def noisy_copy(data):
    image = nib.load(data.volume(1))
    rng = np.random.default_rng(0)
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    voxels = 0.3 * voxels + 5 + rng.normal(0, 0.02 * voxels.max(), voxels.shape)
    path = data.volume(0)
    path.unlink()
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), image.affine), path)


def image_listed_twice(data):
    data.entries[1]["sagittal_t2"] *= 2


def follow_up_with_the_same_image(data):
    data.entries[0].update(patient_id=data.entries[1]["patient_id"], fold=data.entries[1]["fold"])
    copied_image(data)


def thrice_as_large(data):
    data.edit(1, lambda voxels, affine: (voxels, np.diag([3, 3, 3, 1.0]) @ affine), "axial_t2")
    data.keep_points(1, CANAL, "foraminal")


def mixed_fields(data):
    name = data.entries[1]["axial_t2"][0]
    image = nib.load(data.folder / name)
    affine = image.affine.copy()
    affine[:3, 3] = (image.affine @ [-40, -40, 0, 1])[:3]
    voxels = np.pad(np.asarray(image.dataobj), ((40, 40), (40, 40), (0, 0)))
    nib.save(nib.Nifti1Image(voxels, affine), data.folder / "wide.nii.gz")
    data.entries[1]["axial_t2"].append("wide.nii.gz")


def apart(data):
    def change(voxels, affine):
        affine[0, 3] += 500
        return voxels, affine

    data.edit(1, change, "axial_t2")
    data.keep_points(1, CANAL, "foraminal")


def no_series(data):
    data.entries[1]["sagittal_t1"] = []


def no_fold(data):
    del data.entries[1]["fold"]


def label_missing(data):
    data.drop_labels(1, RECESS + "l1_l2")
    del data.points(1)[RECESS + "l1_l2"]


def label_without_point(data):
    del data.points(1)[RECESS + "l1_l2"]


def broken_entry(data):
    data.entries[1]["fold"] = "first"


SPOILED = [
    (truncate, Code.VOLUME_UNREADABLE),
    (not_nifti, Code.VOLUME_UNREADABLE),
    (too_large, Code.VOLUME_TOO_LARGE),
    (missing_file, Code.VOLUME_MISSING),
    (absolute_path, Code.PATH_OUTSIDE),
    (climbing_path, Code.PATH_OUTSIDE),
    (four_dimensional, Code.NOT_3D),
    (not_finite, Code.NOT_FINITE),
    (constant, Code.CONSTANT_IMAGE),
    (no_affine, Code.NO_AFFINE),
    (singular, Code.AFFINE_SINGULAR),
    (sheared, Code.AFFINE_SHEARED),
    (two_affines, Code.TWO_AFFINES),
    (wrong_plane, Code.WRONG_PLANE),
    (point_outside, Code.POINT_OUTSIDE),
    (sides_swapped, Code.SIDES_SWAPPED),
    (out_of_order, Code.LEVELS_OUT_OF_ORDER),
    (another_height, Code.LEVELS_DISAGREE),
    (too_close, Code.LEVELS_TOO_CLOSE),
    (too_far, Code.LEVELS_TOO_FAR),
    (study_twice, Code.STUDY_TWICE),
    (in_two_folds, Code.PATIENT_IN_SEVERAL_FOLDS),
    (in_both_sections, Code.PATIENT_IN_BOTH_SECTIONS),
    (copied_image, Code.IMAGE_OF_TWO_PATIENTS),
    (copied_image_with_other_header, Code.IMAGE_OF_TWO_PATIENTS),
    (noisy_copy, Code.IMAGES_ALIKE),
    (image_listed_twice, Code.IMAGE_TWICE),
    (follow_up_with_the_same_image, Code.IMAGE_TWICE),
    (thrice_as_large, Code.IMPLAUSIBLE_SIZE),
    (mixed_fields, Code.MIXED_FIELDS_OF_VIEW),
    (apart, Code.SERIES_APART),
    (no_series, Code.SERIES_MISSING),
    (no_fold, Code.NO_FOLD),
    (label_missing, Code.LABELS_MISSING),
    (label_without_point, Code.LABEL_WITHOUT_POINT),
    (broken_entry, Code.BROKEN_ENTRY),
]
NEED_MANY = {
    *(Code.OUTLIER, Code.OUTSIDE_FINGERPRINT, Code.LABEL_SHARES_DIFFER, Code.POINT_WITHOUT_LABEL),
    Code.VOLUME_FAILED,
}
"""Tested below and in ``test_check_fingerprint.py``."""


def test_a_volume_that_fails_in_an_unforeseen_way_does_not_end_the_check(data, monkeypatch):
    measured = checking.facts_of

    def failing(volume, number, series_type, path):
        if number == 1:
            raise FloatingPointError("an overflow\nin two lines")
        return measured(volume, number, series_type, path)

    monkeypatch.setattr(checking, "facts_of", failing)
    faults = found_in(data).faults
    assert {(fault.code, fault.number) for fault in faults} == {(Code.VOLUME_FAILED, 1)}
    assert "unexpected FloatingPointError" in faults[0].detail
    assert "\n" not in faults[0].detail


def test_every_code_is_tested():
    assert set(Code) == {code for _, code in SPOILED} | NEED_MANY


@pytest.mark.parametrize(("spoil", "code"), SPOILED, ids=[spoil.__name__ for spoil, _ in SPOILED])
def test_exactly_the_fault_that_was_made_is_found(data, spoil, code):
    spoil(data)
    checked = found_in(data)
    assert [found for found, _ in codes(checked)] == [code]
    assert 1 in {checked.faults[0].number, *checked.faults[0].others}
    assert checked.exit_code is (ExitCode.SOME_REFUSED if code.severity is Severity.ERROR else ExitCode.DONE)


def test_a_point_without_a_label_is_told_beside_the_missing_label(data):
    data.drop_labels(1, CANAL + "l1_l2")
    assert codes(found_in(data)) == [(Code.LABELS_MISSING, 1), (Code.POINT_WITHOUT_LABEL, 1)]


def test_levels_that_are_all_named_one_too_high_are_found(data):
    points = data.points(1)
    levels = ["l1_l2", "l2_l3", "l3_l4", "l4_l5", "l5_s1"]
    for upper, lower in pairwise(levels):
        points[LEFT + upper] = points[LEFT + lower]
    del points[LEFT + "l5_s1"]
    faults = found_in(data).faults
    assert [fault.code for fault in faults] == [Code.LEVELS_DISAGREE, Code.LABEL_WITHOUT_POINT]
    assert faults[0].targets == tuple(LEFT + level for level in levels[:4])


def test_points_are_not_judged_against_a_series_type_that_is_not_all_readable(data):
    truncate(data)
    point_outside(data)
    assert Code.POINT_OUTSIDE not in {code for code, _ in codes(found_in(data))}


def test_a_link_inside_the_folder_is_followed(data):
    target = data.volume(1)
    moved = data.folder.parent / "elsewhere.nii.gz"
    target.rename(moved)
    target.symlink_to(moved)
    assert codes(found_in(data)) == []


def test_faults_of_one_image_in_several_folds_say_so(data):
    copied_image(data)
    assert "in the folds 0, 1" in found_in(data).faults[0].detail


def test_patients_are_never_named(data):
    data.entries[0]["patient_id"] = data.entries[1]["patient_id"] = "DOE^JANE"
    checked, out = check(data.save(), quiet=True)
    assert Code.PATIENT_IN_SEVERAL_FOLDS in {fault.code for fault in checked.faults}
    assert not any("DOE" in path.read_text() for path in out.iterdir())


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.dictionaries(st.integers(0, 347), st.integers(0, 255), min_size=1, max_size=6))
def test_no_header_makes_reading_crash(volume_bytes, tmp_path_factory, changes):
    spoiled = bytearray(volume_bytes)
    for offset, value in changes.items():
        spoiled[offset] = value
    folder = tmp_path_factory.getbasetemp()
    (folder / "a.nii").write_bytes(spoiled)
    try:
        volume = read(folder, "a.nii", Plane.SAGITTAL)
    except UnusableVolumeError as error:
        assert error.code.severity is Severity.ERROR
    else:
        assert volume.voxels.ndim == 3
        assert np.isfinite(volume.voxels).all()


@pytest.fixture(scope="module")
def volume_bytes():
    affine = np.diag([2.0, 2.0, 4.0, 1.0])
    return nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(5, 4, 3), affine).to_bytes()
