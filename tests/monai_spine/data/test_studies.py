import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_spine.data.studies import find_studies
from monai_spine.errors import InvalidTableError, InvalidVolumeError, MissingInputError
from monai_spine.spine import SeriesType
from tests.cohorts import SHAPE, affine_of, write_cohort, write_volume

VOXELS = np.ones(SHAPE, dtype=np.int16)


def volume(folder: Path, name: str, kind: SeriesType, **header: object) -> Path:
    path = write_volume(folder / f"{name}.nii.gz", VOXELS, affine_of(kind))
    if header:
        (folder / f"{name}.json").write_text(json.dumps(header))
    return path


def test_files_named_after_their_series_are_told_apart(tmp_path: Path) -> None:
    write_cohort(tmp_path, studies=3)
    (tmp_path / "datalist.json").unlink()
    records = find_studies(tmp_path)
    assert [record["study_id"] for record in records] == ["4000000000", "4000000001", "4000000002"]
    assert all(len(record[kind.value]) == 1 for record in records for kind in SeriesType)


def test_converted_files_are_told_apart_by_their_sidecars(tmp_path: Path) -> None:
    volume(tmp_path / "s", "1", SeriesType.SAGITTAL_T1, SeriesDescription="SAG T1 TSE")
    volume(tmp_path / "s", "2", SeriesType.SAGITTAL_T2, RepetitionTime=4000, EchoTime=100)
    volume(tmp_path / "s", "3", SeriesType.AXIAL_T2, SeriesDescription="t2_tse_tra")
    volume(tmp_path / "s", "3_1", SeriesType.AXIAL_T2, SeriesDescription="t2_tse_tra")
    (record,) = find_studies(tmp_path)
    names = {kind.value: [Path(file).name for file in record[kind.value]] for kind in SeriesType}
    assert names == {
        "sagittal_t1": ["1.nii.gz"],
        "sagittal_t2": ["2.nii.gz"],
        "axial_t2": ["3.nii.gz", "3_1.nii.gz"],
    }


def test_a_datalist_is_read_by_section(tmp_path: Path) -> None:
    path = write_cohort(tmp_path, studies=2)
    assert len(find_studies(path, "training")) == 2
    with pytest.raises(InvalidTableError, match="'test'"):
        find_studies(path)


def test_a_volume_that_cannot_be_told_is_left_out_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume(tmp_path / "s", "sagittal_t1", SeriesType.SAGITTAL_T1)
    volume(tmp_path / "s", "mystery", SeriesType.AXIAL_T2)
    (record,) = find_studies(tmp_path)
    assert record["axial_t2"] == []
    assert "mystery.nii.gz: left out" in caplog.text


@pytest.mark.parametrize(("content", "message"), [(None, "nothing at"), ((), "sub-folder with NIfTI")])
def test_no_folder_and_an_empty_one_are_told_apart(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(MissingInputError, match=message):
        find_studies(tmp_path / "gone" if content is None else tmp_path)


def test_studies_whose_series_cannot_be_told_say_how_to_name_them(tmp_path: Path) -> None:
    volume(tmp_path / "s", "x", SeriesType.AXIAL_T2)
    with pytest.raises(InvalidTableError, match=r"sagittal_t1\.nii\.gz"):
        find_studies(tmp_path)


def test_a_sidecar_that_is_not_json_is_named(tmp_path: Path) -> None:
    volume(tmp_path / "s", "1", SeriesType.AXIAL_T2, SeriesDescription="x")
    (tmp_path / "s" / "1.json").write_text("{")
    with pytest.raises(InvalidTableError, match=r"1\.json is not JSON"):
        find_studies(tmp_path)


def test_a_broken_volume_is_named_before_anything_is_graded(tmp_path: Path) -> None:
    volume(tmp_path / "s", "sagittal_t1", SeriesType.SAGITTAL_T1).write_bytes(b"rubbish")
    with pytest.raises(InvalidTableError, match=r"sagittal_t1\.nii\.gz: expected a NIfTI volume"):
        find_studies(tmp_path)


def test_a_broken_volume_does_not_take_the_other_studies_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume(tmp_path / "good", "sagittal_t1", SeriesType.SAGITTAL_T1)
    volume(tmp_path / "bad", "sagittal_t1", SeriesType.SAGITTAL_T1).write_bytes(b"rubbish")
    assert [record["study_id"] for record in find_studies(tmp_path)] == ["good"]
    assert "study bad: sagittal_t1.nii.gz: left out" in caplog.text


def placed(folder: Path, name: str, affine: np.ndarray, **header: object) -> Path:
    path = write_volume(folder / f"{name}.nii.gz", VOXELS, affine)
    if header:
        (folder / f"{name}.json").write_text(json.dumps(header))
    return path


def types_of(folder: Path) -> dict[str, list[str]]:
    (record,) = find_studies(folder)
    return {kind.value: [Path(file).name for file in record[kind.value]] for kind in SeriesType if record[kind.value]}


@pytest.mark.parametrize(
    "header",
    [
        {"RepetitionTime": 3.5, "EchoTime": 0.1},
        {"Schema": "monai_spine/volume/1", "RepetitionTime": 3500, "EchoTime": 100},
    ],
)
def test_times_of_a_sidecar_are_seconds_unless_it_is_ours(tmp_path: Path, header: dict[str, object]) -> None:
    volume(tmp_path / "s", "1", SeriesType.SAGITTAL_T2, **header)
    assert types_of(tmp_path) == {"sagittal_t2": ["1.nii.gz"]}


@pytest.mark.parametrize("name", ["sub-01_acq-sag_T2w", "sag_t2", "T2_SAG", "sub-mri_label-6_T2w"])
def test_names_of_other_data_sets_tell_the_weighting(tmp_path: Path, name: str) -> None:
    volume(tmp_path / "s", name, SeriesType.SAGITTAL_T2)
    assert types_of(tmp_path) == {"sagittal_t2": [f"{name}.nii.gz"]}


@pytest.mark.parametrize("suffix", ["seg", "mask", "label", "labels", "dseg", "seg-manual"])
def test_segmentations_beside_an_image_are_no_series(tmp_path: Path, suffix: str) -> None:
    for name in ("sagittal_t2", f"sagittal_t2_{suffix}"):
        volume(tmp_path / "s", name, SeriesType.SAGITTAL_T2)
    assert types_of(tmp_path) == {"sagittal_t2": ["sagittal_t2.nii.gz"]}


def test_an_agent_in_a_sidecar_makes_a_t1_another_contrast(tmp_path: Path) -> None:
    volume(tmp_path / "s", "sagittal_t2", SeriesType.SAGITTAL_T2)
    volume(
        tmp_path / "s", "x", SeriesType.SAGITTAL_T1, SeriesDescription="SAG T1", ContrastBolusIngredient="GADOLINIUM"
    )
    assert types_of(tmp_path) == {"sagittal_t2": ["sagittal_t2.nii.gz"]}


def test_a_name_that_contradicts_thick_slices_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume(tmp_path / "s", "sagittal_t1", SeriesType.SAGITTAL_T1)
    volume(tmp_path / "s", "sagittal_t2", SeriesType.AXIAL_T2)
    assert types_of(tmp_path) == {"sagittal_t1": ["sagittal_t1.nii.gz"]}
    assert "its slices are axial" in caplog.text


def test_a_volume_turned_to_ras_keeps_its_plane(tmp_path: Path) -> None:
    path = placed(tmp_path / "s", "t2", np.array([[0, 0, -4.0, 16], [-1, 0, 0, 90], [0, -1, 0, 100], [0, 0, 0, 1]]))
    nib.save(nib.as_closest_canonical(nib.load(path)), path)
    assert types_of(tmp_path) == {"sagittal_t2": ["t2.nii.gz"]}


def test_the_words_give_the_plane_of_voxels_without_a_coarsest_side(tmp_path: Path) -> None:
    placed(tmp_path / "s", "sag_t2", np.eye(4))
    placed(tmp_path / "s", "T2_x", np.eye(4), Plane="axial", Schema="monai_spine/volume/1")
    assert types_of(tmp_path) == {"sagittal_t2": ["sag_t2.nii.gz"], "axial_t2": ["T2_x.nii.gz"]}


def test_volumes_in_two_files_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "t2.img").write_bytes(b"x")
    with pytest.raises(InvalidVolumeError, match="join them"):
        find_studies(tmp_path)
