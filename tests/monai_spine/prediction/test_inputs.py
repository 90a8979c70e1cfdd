"""What a user may name."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from monai_spine.data.datalist import volumes
from monai_spine.data.finished_mark import fingerprint
from monai_spine.data.studies import find_study
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, SpineError
from monai_spine.files import safe_name
from monai_spine.prediction.inputs import Conversion, Converted, find_inputs, read_converted
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.spine import SeriesType
from tests.cohorts import SHAPE, affine_of, write_volume
from tests.cohorts import write_cohort as write_nifti
from tests.data_prep import dicom_factory as factory
from tests.data_prep.tiny_phantom import write_cohort
from tests.monai_spine.levels.test_locate import axial


def no_dicom(source: Path, out: Path) -> Converted:
    raise AssertionError(f"{source} was taken for DICOM")


def ids(*paths: Path, out: Path = Path("out"), convert: object = no_dicom) -> list[str]:
    return [one.study_id for one in find_inputs(paths, out, convert).studies]


def noise(path: Path, kind: SeriesType = SeriesType.SAGITTAL_T2) -> Path:
    return write_volume(path, np.random.default_rng(0).integers(0, 99, SHAPE).astype(np.int16), affine_of(kind))


def test_folders_datalists_and_files_are_told_apart(tmp_path: Path) -> None:
    datalist = write_nifti(tmp_path / "cohort", studies=3)
    expected = ["4000000000", "4000000001", "4000000002"]
    assert ids(datalist) == expected
    assert ids(tmp_path / "cohort") == expected
    assert ids(tmp_path / "cohort" / expected[1]) == expected[1:2]
    assert ids(*(tmp_path / "cohort" / expected[0]).glob("*.nii.gz")) == expected[:1]
    assert ids(noise(tmp_path / "lone.nii.gz")) == ["lone"]


def test_files_of_one_study_from_several_folders_are_one_study(tmp_path: Path) -> None:
    files = [noise(tmp_path / "p1" / "a" / "sagittal_t2.nii.gz"), noise(tmp_path / "p1" / "b" / "sagittal_t1.nii.gz")]
    (found,) = find_inputs(files, tmp_path / "out", no_dicom).studies
    assert found.study_id == "p1"
    assert [len(found.record[kind.value]) for kind in SeriesType] == [1, 1, 0]


def test_a_study_whose_series_cannot_be_told_is_still_there_and_says_why(tmp_path: Path) -> None:
    noise(tmp_path / "in" / "s1" / "mystery.nii.gz")
    (found,) = find_inputs([tmp_path / "in"], tmp_path / "out", no_dicom).studies
    assert "mystery.nii.gz: neither a description nor" in found.fault


def test_a_file_that_is_no_volume_is_bad_and_the_others_stay(tmp_path: Path) -> None:
    noise(tmp_path / "in" / "s1" / "sagittal_t2.nii.gz")
    noise(tmp_path / "in" / "s1" / "axial_t2.nii.gz").write_bytes(b"rubbish")
    (found,) = find_inputs([tmp_path / "in"], tmp_path / "out", no_dicom).studies
    assert list(found.bad) == ["axial_t2.nii.gz"]
    assert found.fault == ""
    assert str(tmp_path) not in found.bad["axial_t2.nii.gz"]


def test_dicom_is_converted_once_and_several_inputs_do_not_meet(tmp_path: Path) -> None:
    one, two = (write_cohort(tmp_path / name, seed=seed) / "train_images" for name, seed in (("a", 7), ("b", 8)))
    out = tmp_path / "out"
    (single,) = ids(one, out=out, convert=Conversion("folder", quiet=True))
    assert (out / "volumes" / single).is_dir()
    both = ids(one, two, out=tmp_path / "both", convert=Conversion("folder", quiet=True))
    assert len(both) == 2
    assert single in both
    times = {file: file.stat().st_mtime_ns for file in (out / "volumes").rglob("*.nii")}
    assert times
    assert ids(one, out=out, convert=Conversion("folder", quiet=True)) == [single]
    assert times == {file: file.stat().st_mtime_ns for file in (out / "volumes").rglob("*.nii")}


def test_stacks_that_the_converter_refuses_are_bad_but_scouts_are_not(tmp_path: Path) -> None:
    rows = [
        "study,series_uid,stack,description,plane,files,slices,status,reason,detail,nifti",
        "s1,1.2,0,loc,,3,3,refused,LOCALIZER,three planes,",
        "s1,1.3,0,t1,sagittal,14,14,refused,MISSING_SLICE,a gap of 8.8 mm,",
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    files = ["a,,refused,LOCALIZER,,,", "b,,refused,MISSING_SLICE,,,", "c,,used,,x,0,", "d,,refused,EMPTY,,,"]
    (tmp_path / "files.csv").write_text("\n".join(["path,frame,status,reason,nifti,k,t", *files]))
    converted = read_converted(tmp_path, tmp_path)
    (found,) = converted.studies
    assert found.bad == {"1.3, stack 0": "MISSING_SLICE: a gap of 8.8 mm"}
    assert list(found.left_out) == ["1.2, stack 0"]
    assert converted.refused_files == 2
    assert "MISSING_SLICE" in found.fault


def test_two_studies_of_one_name_are_refused(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a", studies=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(InvalidOptionError, match="both be written as 4000000000"):
        ids(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("name", ["volumes", "predictions.csv", "README.md", "nul", "..", "x" * 300, "Ä" * 200])
def test_a_study_of_any_name_has_a_folder_of_its_own_in_the_output(name: str) -> None:
    folder = safe_name(name)
    assert folder.lower() not in {name.lower(), "volumes", ".", ".."}
    assert len(folder.encode()) <= 130
    assert safe_name(f"{name}y") != folder


def test_what_is_not_there_or_holds_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"there is no .*gone"):
        ids(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpineError, match="no DICOM image"):
        ids(tmp_path / "empty", out=tmp_path / "out", convert=Conversion(quiet=True))
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InvalidTableError, match="schema"):
        ids(tmp_path / "x.json")


@pytest.mark.parametrize("uid", ["1.2.3", ""])
def test_two_patients_with_one_study_uid_are_never_one_study(tmp_path: Path, uid: str) -> None:
    for number in range(2):
        identity = {"PatientID": f"P{number}", "StudyInstanceUID": uid, "FrameOfReferenceUID": f"1.{number}"}
        factory.write(tmp_path / "in" / f"{number}", factory.series(4, seed=number, **identity))
    studies = find_inputs([tmp_path / "in"], tmp_path / "out", Conversion(quiet=True)).studies
    assert [len(study.record["sagittal_t2"]) for study in studies] == [1, 1]
    assert len({study.study_id for study in studies}) == 2


def test_patients_that_cannot_be_told_apart_are_a_study_that_says_so_and_cannot_be_graded(tmp_path: Path) -> None:
    for number in range(2):
        images = factory.series(4, seed=number, StudyInstanceUID="", FrameOfReferenceUID=f"1.{number}")
        factory.write(tmp_path / "in" / f"{number}", images)
    (study,) = find_inputs([tmp_path / "in"], tmp_path / "out", Conversion(quiet=True)).studies
    assert study.fault.count("MIXED_PATIENTS") == 2


def test_what_was_done_before_is_known_by_every_byte_and_by_the_path(tmp_path: Path) -> None:
    path = noise(tmp_path / "in" / "sagittal_t2.nii")
    record = find_study("in", [path]).record
    before, status = fingerprint("in", volumes(record), {}), path.stat()
    changed = bytearray(path.read_bytes())
    changed[-7] ^= 1
    path.write_bytes(changed)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint("in", volumes(record), {}) != before
    moved = shutil.copytree(tmp_path / "in", tmp_path / "moved") / path.name
    assert fingerprint("in", volumes(find_study("in", [moved]).record), {}) != fingerprint("in", volumes(record), {})


@pytest.mark.parametrize(("series_type", "used"), [(SeriesType.AXIAL_T2, True), (SeriesType.SAGITTAL_T2, False)])
def test_a_volume_of_another_plane_than_its_series_type_is_not_used(
    tmp_path: Path, series_type: SeriesType, used: bool
) -> None:
    volume = axial(tmp_path / "a.nii.gz", np.zeros(3))
    record = {"study_id": "1", **{one.value: [] for one in SeriesType}, series_type.value: [str(volume)]}
    checked = PendingStudy(record).checked(lambda file: None)
    assert bool(checked.record[series_type.value]) is used
    if not used:
        assert "expected sagittal slices for Sagittal T2" in checked.bad["a.nii.gz"]
