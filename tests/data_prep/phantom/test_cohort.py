"""A cohort as it is written: layout, DICOM headers, determinism."""

import json

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import MRImageStorage
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.phantom.cohort import Job, generate, write_study
from monai_spine.errors import SpineError
from monai_spine.geometry import dicom_pixel_to_world
from monai_spine.spine import TARGETS, SeriesType
from tests.data_prep.tiny_phantom import headers, table, tiny_images, write_cohort


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("clean") / "cohort", studies=3)


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
    assert set(series["series_description"]) == {series_type.title for series_type in SeriesType}
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
    files = headers(clean)
    assert len({d.SOPInstanceUID for d in files}) == len(files)
    assert len({d.SeriesInstanceUID for d in files}) == 9
    assert len({d.StudyInstanceUID for d in files}) == len({d.FrameOfReferenceUID for d in files}) == 3


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
