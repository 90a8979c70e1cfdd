"""The phantom as it is written: layout, DICOM headers, determinism, quirks."""

import json

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import MRImageStorage
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.phantom import picture
from data_prep.phantom import study as studies
from data_prep.phantom.cohort import Job, generate, write_study
from data_prep.phantom.quirks import NONE
from data_prep.phantom.size import Size
from monai_spine.errors import SpineError
from monai_spine.geometry import dicom_pixel_to_world
from monai_spine.spine import TARGETS, SeriesType
from tests.data_prep.tiny_phantom import tiny_images, write_cohort

LEFT, RIGHT = "Left", "Right"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("clean") / "cohort", studies=3)


def table(folder, name):
    return pd.read_csv(folder / name, dtype=str, keep_default_na=False)


def headers(folder, pattern="*/*/*.dcm"):
    return [pydicom.dcmread(path) for path in sorted((folder / "train_images").glob(pattern))]


def points_with_truth(folder):
    points, truth = table(folder, "train_label_coordinates.csv"), table(folder, "truth.csv")
    condition = points["condition"].str.lower().str.replace(" ", "_")
    level = points["level"].str.lower().str.replace("/", "_")
    return points.assign(condition=condition, level=level).merge(truth, on=["study_id", "condition", "level"])


def world_of(folder, row):
    path = folder / "train_images" / row.study_id / row.series_id / f"{row.instance_number}.dcm"
    header = pydicom.dcmread(path, stop_before_pixels=True)
    pixel = [float(row.x_x), float(row.y_x)]
    return dicom_pixel_to_world(header.ImageOrientationPatient, header.ImagePositionPatient, header.PixelSpacing, pixel)


def test_layout_is_the_competitions(clean):
    assert list(table(clean, "train.csv").columns) == ["study_id", *TARGETS]
    assert set(table(clean, "train.csv")[list(TARGETS)].stack()) <= {"", "Normal/Mild", "Moderate", "Severe"}
    series = table(clean, "train_series_descriptions.csv")
    assert set(series["series_description"]) == {kind.title for kind in SeriesType}
    assert len(series) == 9
    assert list(table(clean, "sample_submission.csv").columns) == ["row_id", "normal_mild", "moderate", "severe"]
    folders = {path.relative_to(clean / "train_images").as_posix() for path in clean.glob("train_images/*/*")}
    assert folders == {f"{row.study_id}/{row.series_id}" for row in series.itertuples()}


def test_truth_has_a_row_per_finding_whose_probabilities_sum_to_one(clean):
    truth = pd.read_csv(clean / "truth.csv")
    assert len(truth) == 3 * 25
    assert np.allclose(truth[["normal_mild", "moderate", "severe"]].sum(axis=1), 1, atol=1e-5)
    assert json.loads((clean / "floor.json").read_text())["studies"] == 3


def test_files_are_valid_mr_images(clean):
    for dataset in headers(clean):
        assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == MRImageStorage
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.pixel_array.shape == (dataset.Rows, dataset.Columns)
        assert dataset.pixel_array.max() > 0
        assert ("InversionTime" in dataset) == (dataset.SeriesDescription == "SAG STIR")
        assert [element.tag for element in dataset] == sorted(element.tag for element in dataset)


def test_uids_are_unique_per_slice_and_shared_per_series(clean):
    found = headers(clean)
    assert len({d.SOPInstanceUID for d in found}) == len(found)
    assert len({d.SeriesInstanceUID for d in found}) == 9
    assert len({d.StudyInstanceUID for d in found}) == len({d.FrameOfReferenceUID for d in found}) == 3


def test_clean_series_are_evenly_spaced_and_have_one_orientation(clean):
    for folder in (clean / "train_images").glob("*/*"):
        slices = [pydicom.dcmread(path, stop_before_pixels=True) for path in folder.iterdir()]
        assert len({tuple(d.ImageOrientationPatient) for d in slices}) == 1
        normal = np.cross(slices[0].ImageOrientationPatient[:3], slices[0].ImageOrientationPatient[3:])
        places = np.sort([np.array(d.ImagePositionPatient, dtype=float) @ normal for d in slices])
        assert np.allclose(np.diff(places), float(slices[0].SpacingBetweenSlices), atol=1e-4)


def test_points_lie_on_the_true_positions(clean):
    rows = points_with_truth(clean)
    assert len(rows) > 60
    for row in rows.itertuples():
        truth = [float(row.x_y), float(row.y_y), float(row.z)]
        assert np.linalg.norm(world_of(clean, row) - truth) < 0.01


def test_patients_left_has_the_larger_column_in_axial_slices(clean):
    rows = points_with_truth(clean)
    axial = rows[rows["condition"].str.contains("subarticular")].set_index(["study_id", "level", "condition"])["x_x"]
    columns = axial.astype(float).unstack()
    assert (columns["left_subarticular_stenosis"] > columns["right_subarticular_stenosis"]).all()


def test_a_study_is_the_same_alone_and_in_a_cohort(clean, tmp_path):
    with tiny_images():
        write_study(Job(tmp_path, 7, 2))
    for path in tmp_path.rglob("*.dcm"):
        assert path.read_bytes() == (clean / path.relative_to(tmp_path)).read_bytes()


def test_workers_do_not_change_the_cohort(tmp_path):
    for workers in (1, 2):
        generate(tmp_path / str(workers), 1, 1, workers=workers, quiet=True)
    files = [path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*") if path.is_file()]
    assert len(files) > 50
    assert all((tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes() for file in files)


def test_ids_are_unique_and_some_exceed_int32():
    ids = [studies.study_id(0, index) for index in range(500)]
    assert len(set(ids)) == 500
    assert any(int(name) > 2**31 for name in ids)


def test_instance_numbers_rise_to_the_left_in_two_of_three_sagittal_series():
    leftwards = []
    for index in range(150):
        first = studies.draw(0, index, Size.SMALL).series[0].stacks[0]
        rightwards = first.scan.affine[0, 2] > 0
        leftwards.append((first.instances[0] < first.instances[-1]) != rightwards)
    assert np.mean(leftwards) == pytest.approx(1261 / 1965, abs=0.12)


def test_no_quirk_is_forced_on_a_clean_study():
    assert studies.draw(0, 0, Size.SMALL).quirks == NONE


def test_a_folder_with_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(SpineError, match="new or empty folder"):
        generate(tmp_path, 1, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_no_studies_are_refused(tmp_path):
    with pytest.raises(SpineError, match="at least 1"):
        generate(tmp_path / "new", 0, 0)


def test_command_writes_a_small_cohort(tmp_path):
    result = CliRunner().invoke(app, ["phantom", str(tmp_path / "new"), "--studies", "1", "--workers", "1", "--quiet"])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "new" / "train_images").glob("*/*"))) == 3


def test_picture_has_a_row_per_study():
    with tiny_images():
        made = picture.picture(seed=0, studies=2)
    assert made.size == (3 * picture.TILE, 2 * picture.TILE)
    assert np.asarray(made).std() > 20
