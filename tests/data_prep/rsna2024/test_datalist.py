"""From the competition's layout to a datalist: faults in the tables and the folders, and what is reported of them."""

import json
import shutil

import pandas as pd
import pydicom
import pytest
from typer.testing import CliRunner

from data_prep import cli
from data_prep.collection.assembly import Run
from data_prep.rsna2024.datalist import build
from monai_spine.data.datalist import read_datalist
from monai_spine.errors import ExitCode, InvalidOptionError, InvalidTableError, MissingInputError, SpineError
from monai_spine.spine import TARGETS, SeriesType
from tests.data_prep.collection.outputs import codes, entries, faults, table


def test_a_study_without_images_is_left_out_and_the_rest_is_done(small, tmp_path):
    study = table(small / "train.csv")["study_id"][0]
    shutil.copytree(small, tmp_path / "cohort")
    add_study(tmp_path / "cohort", study)
    shutil.rmtree(tmp_path / "cohort" / "train_images" / study)
    collection = build(tmp_path / "cohort", tmp_path / "out", Run(folds=2, quiet=True))
    assert collection.exit_code is ExitCode.SOME_REFUSED
    assert study not in entries(tmp_path / "out")
    assert codes(tmp_path / "out", study) >= {"NO_VOLUME", "NO_SLICE"}


def add_study(folder, study):
    """A copy of a study under the name ``copy``, so that two are left when one goes."""
    shutil.copytree(folder / "train_images" / study, folder / "train_images" / "copy")
    for name in ("train.csv", "train_series_descriptions.csv"):
        rows = table(folder / name)
        pd.concat([rows, rows[rows["study_id"] == study].assign(study_id="copy")]).to_csv(folder / name, index=False)


def test_a_point_without_a_label_is_kept_and_reported(small, tmp_path):
    rows = table(small / "train.csv")
    rows.loc[0, TARGETS[7]] = ""
    rows.to_csv(small / "train.csv", index=False)
    build(small, tmp_path / "out", Run(folds=2, quiet=True))
    (fault,) = faults(tmp_path / "out", rows["study_id"][0])
    assert (fault["code"], fault["target"]) == ("NO_LABEL", TARGETS[7])
    assert TARGETS[7] in entries(tmp_path / "out")[rows["study_id"][0]]["points"]


def test_swapped_sides_are_reported(small, tmp_path):
    path = small / "train_label_coordinates.csv"
    rows = table(path)
    sides = rows["condition"].str.replace("Left", "?").str.replace("Right", "Left").str.replace("?", "Right")
    rows.assign(condition=sides).to_csv(path, index=False)
    build(small, tmp_path / "out", Run(folds=2, quiet=True))
    assert sum(row["code"] == "SIDES_SWAPPED" for row in faults(tmp_path / "out")) >= 15


def test_points_on_absent_slices_wrong_series_and_outside_are_reported(small, tmp_path):
    path = small / "train_label_coordinates.csv"
    rows = table(path)
    rows.loc[0, "instance_number"] = "4000"
    rows.loc[1, "x"] = "9999"
    wrong = rows[rows["condition"].str.contains("Foraminal")].iloc[0]
    rows.loc[2, ["series_id", "instance_number"]] = [wrong["series_id"], wrong["instance_number"]]
    twice = pd.concat([rows, rows.iloc[[5]]])
    twice.to_csv(path, index=False)
    build(small, tmp_path / "out", Run(folds=2, quiet=True))
    expected = {"NO_SLICE", "NO_POINT", "OUTSIDE_IMAGE", "WRONG_SERIES_TYPE", "SECOND_POINT"}
    assert codes(tmp_path / "out") >= expected


@pytest.mark.parametrize("rename", ["{stem}.DCM", "{stem}", "IM{number:04d}"], ids=["upper case", "bare", "other"])
def test_points_find_their_slices_by_instance_number_however_the_files_are_named(small, tmp_path, rename):
    build(small, tmp_path / "expected", Run(folds=2, quiet=True))
    for path in (small / "train_images").rglob("*.dcm"):
        header = pydicom.dcmread(path)
        header.InstanceNumber = int(path.stem)
        # Names count backwards: only the header tells which slice is which.
        name = rename.format(stem=path.stem, number=9999 - int(path.stem))
        header.save_as(path.with_name(name))
        path.unlink()
    collection = build(small, tmp_path / "out", Run(folds=2, quiet=True))
    assert collection.exit_code is ExitCode.DONE
    points = {study: entry["points"] for study, entry in entries(tmp_path / "expected").items()}
    assert {study: entry["points"] for study, entry in entries(tmp_path / "out").items()} == points


def test_a_lost_point_ends_the_run_as_refused(small, tmp_path):
    path = small / "train_label_coordinates.csv"
    rows = table(path)
    rows.loc[0, "instance_number"] = "4000"
    rows.to_csv(path, index=False)
    assert build(small, tmp_path / "out", Run(folds=2, quiet=True)).exit_code is ExitCode.SOME_REFUSED
    assert "NO_SLICE" in codes(tmp_path / "out")


def test_refused_files_are_listed_with_the_reason_and_only_then(small, tmp_path):
    build(small, tmp_path / "whole", Run(folds=2, quiet=True))
    assert not (tmp_path / "whole" / "refused.csv").exists()
    study = table(small / "train.csv")["study_id"][0]
    path = sorted((small / "train_images" / study).glob("*/*.dcm"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    build(small, tmp_path / "out", Run(folds=2, quiet=True))
    rows = {row["path"]: row for row in table(tmp_path / "out" / "refused.csv").to_dict("records")}
    row = rows[path.relative_to(small / "train_images").as_posix()]
    assert row["reason"] == "TRUNCATED"
    assert "bytes of pixel data" in row["detail"]
    # What is repaired is no longer listed.
    path.write_bytes(whole)
    build(small, tmp_path / "out", Run(folds=2, quiet=True))
    assert not (tmp_path / "out" / "refused.csv").exists()


def test_studies_series_and_files_that_no_table_names_are_reported_and_left_out(small, tmp_path):
    study = table(small / "train.csv")["study_id"][0]
    shutil.copytree(small / "train_images" / study, small / "train_images" / "unlisted")
    series = next((small / "train_images" / study).iterdir())
    shutil.copytree(series, series.with_name("extra"))
    (small / "train_images" / "notes.txt").write_text("x")
    (small / "train_images" / study / "notes.txt").write_text("x")
    build(small, tmp_path / "out", Run(folds=2, quiet=True))
    assert codes(tmp_path / "out", "unlisted") == {"UNKNOWN_STUDY"}
    assert codes(tmp_path / "out", study) >= {"UNKNOWN_SERIES", "STRAY_FILES"}
    assert codes(tmp_path / "out", "") == {"STRAY_FILES"}
    assert not (tmp_path / "out" / "unlisted").exists()
    assert "unlisted" not in entries(tmp_path / "out")


def test_test_studies_have_no_labels(small, tmp_path):
    study = table(small / "train.csv")["study_id"][0]
    (small / "test_images").rmdir()
    (small / "train_images").rename(small / "test_images")
    shutil.rmtree(small / "test_images" / table(small / "train.csv")["study_id"][1])
    series = table(small / "train_series_descriptions.csv")
    series[series["study_id"] == study].to_csv(small / "test_series_descriptions.csv", index=False)
    (small / "train.csv").unlink()
    build(small, tmp_path / "out", Run(quiet=True))
    (entry,) = json.loads((tmp_path / "out" / "datalist.json").read_text())["test"]
    assert set(entry) == {"study_id", "patient_id", *(kind.value for kind in SeriesType)}
    assert len(read_datalist(tmp_path / "out" / "datalist.json", "test")) == 1


def test_all_faults_of_all_tables_are_named_with_their_rows(small, tmp_path):
    labels, points = table(small / "train.csv"), table(small / "train_label_coordinates.csv")
    labels.loc[1, TARGETS[3]] = "Terrible"
    labels.to_csv(small / "train.csv", index=False)
    points.loc[4, "level"] = "L7/S9"
    points.loc[6, "x"] = "nan"
    points.loc[8, "instance_number"] = "1.5"
    points.to_csv(small / "train_label_coordinates.csv", index=False)
    with pytest.raises(InvalidTableError) as caught:
        build(small, tmp_path / "out", Run(folds=2, quiet=True))
    message = str(caught.value)
    assert "4 faults" in message
    assert f"train.csv row 3: {TARGETS[3]} is 'Terrible'" in message
    assert "train_label_coordinates.csv row 6: level is 'L7/S9'" in message
    assert "row 8: x is 'nan'" in message
    assert "row 10: instance_number is '1.5'" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", ["../escape", "", "a/b"])
def test_ids_that_cannot_name_a_folder_are_refused(small, tmp_path, bad):
    rows = table(small / "train_series_descriptions.csv")
    rows.loc[0, "series_id"] = bad
    rows.to_csv(small / "train_series_descriptions.csv", index=False)
    with pytest.raises(InvalidTableError, match="row 2: series_id"):
        build(small, tmp_path / "out", Run(folds=2, quiet=True))


def test_a_study_twice_in_the_table_is_refused(small, tmp_path):
    rows = table(small / "train.csv")
    pd.concat([rows, rows.iloc[[0]]]).to_csv(small / "train.csv", index=False)
    with pytest.raises(InvalidTableError, match="row 4: study_id"):
        build(small, tmp_path / "out", Run(folds=2, quiet=True))


def test_a_missing_column_is_named(small, tmp_path):
    rows = table(small / "train.csv").drop(columns=TARGETS[7])
    rows.to_csv(small / "train.csv", index=False)
    with pytest.raises(MissingInputError, match=f"train.csv has no column '{TARGETS[7]}'"):
        build(small, tmp_path / "out", Run(folds=2, quiet=True))


@pytest.mark.parametrize("name", ["train_label_coordinates.csv", "train_series_descriptions.csv"])
def test_a_missing_table_is_named(small, tmp_path, name):
    (small / name).unlink()
    with pytest.raises(MissingInputError, match=name):
        build(small, tmp_path / "out", Run(folds=2, quiet=True))


def test_a_broken_table_is_named(small, tmp_path):
    (small / "train.csv").write_text('study_id,x\n"a,1\n')
    with pytest.raises(SpineError, match=r"train\.csv"):
        build(small, tmp_path / "out", Run(folds=2, quiet=True))


def test_a_missing_folder_and_missing_images_are_named(small, tmp_path):
    with pytest.raises(MissingInputError, match="nowhere"):
        build(tmp_path / "nowhere", tmp_path / "out", Run())
    shutil.rmtree(small / "train_images")
    with pytest.raises(MissingInputError, match="train_images"):
        build(small, tmp_path / "out", Run(folds=2))


def test_too_many_folds_are_refused_before_anything_is_written(small, tmp_path):
    with pytest.raises(InvalidOptionError, match="--folds 3"):
        build(small, tmp_path / "out", Run(folds=3))
    assert not (tmp_path / "out").exists()


def test_command_ends_with_its_exit_codes(small, tmp_path):
    args = ["rsna", str(small), str(tmp_path / "out"), "--folds", "2", "--quiet"]
    result = CliRunner().invoke(cli.app, args)
    assert result.exit_code == ExitCode.DONE, result.output
    assert "2 training and 0 test studies, no faults" in result.output
    assert "any severe spinal" in result.output
