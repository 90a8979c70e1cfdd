"""NIfTI files of a user's table: any axis order, checked, and nothing but voxels and place written."""

import itertools
import json

import nibabel as nib
import numpy as np
import pytest

from data_prep.dicom.job import Settings
from data_prep.study_table.nifti_series import copy_row
from data_prep.study_table.table import SeriesRow
from monai_spine.geometry import Plane, plane_of, to_world
from monai_spine.spine import SeriesType

SHAPE = (40, 48, 9)
AFFINE = np.array([[0, 0, -4.0, 16], [-2.5, 0, 0, 90], [0, -2.5, 0, 100], [0, 0, 0, 1]])


def volume(affine=AFFINE, shape=SHAPE, dtype=np.int16):
    voxels = np.random.default_rng(0).integers(0, 900, shape).astype(dtype)
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, 1)
    return image


def take(tmp_path, image, name="scan.nii.gz", kind=SeriesType.SAGITTAL_T2, resume=False):
    path = tmp_path / name
    if image is not None:
        nib.save(image, path)
    settings = Settings(out=str(tmp_path / "out"), resume=resume)
    return copy_row("s", SeriesRow(2, path, kind), settings, lambda given: given.value)


def test_voxels_and_affine_are_those_of_the_file(tmp_path):
    image = volume()
    report = take(tmp_path, image)
    written = nib.load(tmp_path / "out" / report.nifti)
    assert report.nifti == "s/sagittal_t2.nii.gz"
    assert np.array_equal(written.dataobj, image.dataobj)
    assert np.allclose(written.affine, AFFINE)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_slices_are_stored_last_whatever_the_order_of_the_axes(tmp_path, axes):
    image = volume()
    turned = nib.Nifti1Image(np.asarray(image.dataobj).transpose(axes), AFFINE[:, [*axes, 3]])
    report = take(tmp_path, turned)
    written = nib.load(tmp_path / "out" / report.nifti)
    assert plane_of(written.affine) is Plane.SAGITTAL
    assert written.shape[2] == SHAPE[2]
    index = np.array([11, 7, 5])
    here = to_world(AFFINE, index)
    there = np.rint(np.linalg.solve(written.affine, [*here, 1])[:3]).astype(int)
    assert written.dataobj[tuple(there)] == image.dataobj[tuple(index)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.float32, ">f4", np.float64])
def test_every_type_of_number_and_its_scaling_is_kept(tmp_path, dtype):
    image = volume(dtype=np.dtype(dtype))
    image.header.set_slope_inter(0.5, 3)
    report = take(tmp_path, image)
    assert np.allclose(
        nib.load(tmp_path / "out" / report.nifti).get_fdata(), nib.load(tmp_path / "scan.nii.gz").get_fdata()
    )


def test_descriptions_and_extensions_do_not_go_along(tmp_path):
    image = volume()
    image.header["descrip"] = b"Secret^Name"
    image.header["aux_file"] = b"Secret.txt"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Secret"))
    (tmp_path / "Secret.json").write_text(json.dumps({"PatientName": "Secret", "SeriesDescription": "Secret T2"}))
    report = take(tmp_path, image, "Secret.nii", kind=None)
    assert report.nifti
    for file in (tmp_path / "out").rglob("*.*"):
        content = file.read_bytes() if not file.name.endswith(".gz") else nib.load(file).header.binaryblock
        assert b"Secret" not in content
    assert "Secret" not in "".join(report.cells())
    assert len(nib.load(tmp_path / "out" / report.nifti).header.extensions) == 0


@pytest.mark.parametrize(
    ("name", "beside", "kind"),
    [
        ("sub-01_T1w.nii.gz", None, SeriesType.SAGITTAL_T1),
        ("sagittal_t2.nii.gz", None, SeriesType.SAGITTAL_T2),
        ("x.nii.gz", {"RepetitionTime": 0.6, "EchoTime": 0.011}, SeriesType.SAGITTAL_T1),
        ("x.nii.gz", {"RepetitionTime": 4.5, "EchoTime": 0.06, "InversionTime": 0.16}, SeriesType.SAGITTAL_T2),
        ("x.nii.gz", {"Schema": "monai_spine/volume/1", "RepetitionTime": 600, "EchoTime": 11}, SeriesType.SAGITTAL_T1),
        ("x.nii.gz", {"SeriesDescription": "SAG STIR"}, SeriesType.SAGITTAL_T2),
        ("x.nii.gz", {"RepetitionTime": 0.6, "EchoTime": 0.02, "ScanningSequence": "GR"}, None),
        ("x.nii.gz", None, None),
    ],
)
def test_the_type_is_told_from_name_and_sidecar(tmp_path, name, beside, kind):
    if beside is not None:
        (tmp_path / "x.json").write_text(json.dumps(beside))
    report = take(tmp_path, volume(), name, kind=None)
    assert report.series_type == (kind.value if kind else "")
    assert bool(report.nifti) == (kind is not None)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: None, "UNREADABLE"),
        (lambda: volume(shape=(40, 48, 2)), "TOO_FEW_SLICES"),
        (lambda: volume(AFFINE / 1000), "UNREADABLE"),
        (lambda: volume(AFFINE / 50), "NO_GEOMETRY"),
        (lambda: volume(AFFINE @ np.diag([0.1, 0.1, 1, 1])), "NO_GEOMETRY"),
        (lambda: volume(AFFINE + np.array([[0, 0, 0, 0], [0, 0, 1.5, 0], [0] * 4, [0] * 4])), "SHEARED"),
        (lambda: nib.Nifti1Image(np.zeros(SHAPE, np.int16), AFFINE), "UNSUPPORTED"),
        (lambda: nib.Nifti1Image(np.full(SHAPE, np.nan, np.float32), AFFINE), "UNSUPPORTED"),
        (lambda: nib.Nifti1Image(np.zeros((*SHAPE, 4), np.int16), AFFINE), "UNREADABLE"),
        (lambda: nib.Nifti1Image(np.zeros(SHAPE, np.complex64), AFFINE), "COLOUR"),
    ],
)
def test_what_is_no_spine_volume_is_refused_with_its_reason_and_without_its_path(tmp_path, make, reason):
    image = make()
    if image is None:
        (tmp_path / "scan.nii.gz").write_bytes(b"rubbish")
    report = take(tmp_path, image)
    assert report.status.value == "refused"
    assert report.reason.startswith(f"{reason}: ")
    assert str(tmp_path) not in report.reason
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_a_volume_that_does_not_say_where_it_lies_is_refused(tmp_path):
    image = volume()
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    assert take(tmp_path, image).reason.startswith("NO_GEOMETRY: expected a qform or an sform")


@pytest.mark.parametrize(("shift", "refused"), [(0.9, False), (1.1, True)])
def test_a_qform_that_contradicts_the_sform_is_refused_with_the_millimetres(tmp_path, shift, refused):
    image = volume()
    moved = AFFINE.copy()
    moved[0, 3] += shift
    image.set_qform(moved, 1)
    report = take(tmp_path, image)
    assert report.reason.startswith("NO_GEOMETRY: qform and sform put one corner 1.1 mm apart") == refused
    assert bool(report.nifti) != refused


def test_a_segmentation_beside_an_image_is_no_series(tmp_path):
    report = take(tmp_path, volume(), "sag_t2_seg.nii.gz", kind=None)
    assert (report.status.value, report.nifti) == ("other", "")


def test_volumes_in_two_files_say_what_to_do(tmp_path):
    image = volume()
    nib.save(nib.Nifti1Pair(np.asarray(image.dataobj), AFFINE), tmp_path / "sag_t2.img")
    report = take(tmp_path, None, "sag_t2.img")
    assert report.reason.startswith("UNREADABLE: a volume in two files")
    assert str(tmp_path) not in report.reason


def test_a_file_cut_short_is_refused(tmp_path):
    nib.save(volume(), tmp_path / "scan.nii.gz")
    data = (tmp_path / "scan.nii.gz").read_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(data[: len(data) // 2])
    assert take(tmp_path, None).reason.startswith("TRUNCATED")


def test_resuming_keeps_a_finished_copy_and_mends_a_damaged_one(tmp_path):
    report = take(tmp_path, volume())
    path = tmp_path / "out" / report.nifti
    before, content = path.stat().st_mtime_ns, path.read_bytes()
    take(tmp_path, None, resume=True)
    assert path.stat().st_mtime_ns == before
    path.write_bytes(content[:-8])
    take(tmp_path, None, resume=True)
    assert path.read_bytes() == content
