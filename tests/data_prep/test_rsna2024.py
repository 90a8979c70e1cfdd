"""From the competition's layout to a datalist: points, laterality, quirks, faults in the tables."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data_prep import cli
from data_prep.phantom.cohort import generate
from data_prep.phantom.quirks import NONE, Quirk
from data_prep.rsna2024.datalist import build
from data_prep.rsna2024.faults import FaultKind
from monai_spine.datalist import read_datalist
from monai_spine.errors import ExitCode, InvalidOptionError, InvalidTableError, MissingInputError, SpineError
from monai_spine.geometry import Plane, plane_of, to_voxel
from monai_spine.spine import MISSING, TARGETS, Grade, SeriesType
from tests.data_prep.tiny_phantom import tiny_images, write_cohort

QUIRKS = list(Quirk)


def table(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def quirky(tmp_path_factory):
    """Study i has the i-th quirk; two more are clean."""
    folder = tmp_path_factory.mktemp("quirky") / "cohort"
    with tiny_images():
        forced = [frozenset({quirk}) for quirk in QUIRKS]
        generate(folder, len(QUIRKS) + 2, 11, forced=[*forced, NONE, NONE], quiet=True)
    return folder


@pytest.fixture(scope="module")
def built(quirky, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "nifti"
    collection = build(quirky, out, folds=5, seed=0, quiet=True)
    return out, collection


@pytest.fixture(scope="module")
def two_studies(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("small") / "cohort", studies=2)


@pytest.fixture
def small(two_studies, tmp_path):
    """Two clean studies, to be broken by the test."""
    return shutil.copytree(two_studies, tmp_path / "small")


def entries(out):
    return {entry["study_id"]: entry for entry in json.loads((out / "datalist.json").read_text())["training"]}


def study_with(quirky, quirk):
    rows = table(quirky / "quirks.csv")
    return rows.loc[rows["quirk"] == quirk.value, "study_id"].item()


def kinds_of(built, study):
    return {fault.kind for fault in built[1].faults if fault.study_id == study}


def test_every_study_is_in_the_datalist_and_readable(quirky, built):
    records = read_datalist(built[0] / "datalist.json")
    assert [record["study_id"] for record in records] == list(table(quirky / "train.csv")["study_id"])
    assert {record["fold"] for record in records} == set(range(5))


def test_labels_are_those_of_the_table(quirky, built):
    names = {Grade(value).title: value for value in Grade} | {"": MISSING}
    for row in table(quirky / "train.csv").to_dict("records"):
        assert entries(built[0])[row["study_id"]]["label"] == [names[row[target]] for target in TARGETS]


def test_points_lie_within_a_millimetre_of_the_truth(quirky, built):
    truth = pd.read_csv(quirky / "truth.csv", dtype={"study_id": str}).set_index(["study_id", "condition", "level"])
    wrong = {study_with(quirky, quirk) for quirk in (Quirk.LEVEL_OFF_BY_ONE, Quirk.POINT_ELSEWHERE)}
    compared = 0
    for study, entry in entries(built[0]).items():
        for target, point in entry["points"].items():
            expected = truth.loc[(study, target[:-6], target[-5:]), ["x", "y", "z"]].to_numpy(dtype=float)
            if study not in wrong and not np.isnan(expected).any():
                assert np.linalg.norm(point - expected) < 0.01
                compared += 1
    assert compared > 300


def test_points_come_back_to_their_pixels_through_the_volume(built):
    out = built[0]
    rows = table(out / "points.csv")
    placed = rows[rows["k"] != ""]
    assert len(placed) > 400
    for row in placed.to_dict("records"):
        affine = nib.load(out / row["nifti"]).affine
        voxel = to_voxel(affine, [float(row[axis]) for axis in "xyz"])
        assert np.abs(voxel - [float(row["column"]), float(row["row"]), float(row["k"])]).max() < 0.01
        assert float(row["error_px"]) <= 0.01


def test_left_points_lie_to_the_patients_left(quirky, built):
    wrong = study_with(quirky, Quirk.POINT_ELSEWHERE)
    pairs = 0
    for study, entry in entries(built[0]).items():
        for target, point in entry["points"].items():
            other = entry["points"].get(target.replace("left", "right", 1))
            if target.startswith("left") and other is not None and study != wrong:
                assert point[0] < other[0]
                pairs += 1
    assert pairs > 80


def test_series_types_have_their_planes(built):
    planes = {SeriesType.AXIAL_T2: Plane.AXIAL}
    for record in read_datalist(built[0] / "datalist.json")[:6]:
        for kind in SeriesType:
            for file in record[kind.value]:
                assert plane_of(nib.load(file).affine) is planes.get(kind, Plane.SAGITTAL)


@pytest.mark.parametrize(
    ("quirk", "found"),
    [
        (Quirk.MISSING_T1, FaultKind.NO_SERIES_TYPE),
        (Quirk.MISSING_T2, FaultKind.NO_SERIES_TYPE),
        (Quirk.EMPTY_FOLDER, FaultKind.NO_IMAGES),
        (Quirk.LABEL_WITHOUT_POINT, FaultKind.NO_POINT),
        (Quirk.LEVEL_OFF_BY_ONE, FaultKind.NO_POINT),
    ],
)
def test_quirks_that_lose_something_are_reported(quirky, built, quirk, found):
    assert found in kinds_of(built, study_with(quirky, quirk))


@pytest.mark.parametrize(
    "quirk",
    [
        Quirk.SEVERAL_AXIAL,
        Quirk.SUB_STACKS,
        Quirk.TWO_T1,
        Quirk.ODD_NUMBERS,
        Quirk.REPEATED_SLICE,
        Quirk.NO_SPACING_TAGS,
        Quirk.WRONG_SPACING_TAGS,
        Quirk.COMPRESSED,
        Quirk.IMPLICIT_VR,
    ],
)
def test_harmless_quirks_lose_nothing(quirky, built, quirk):
    study = study_with(quirky, quirk)
    entry = entries(built[0])[study]
    labelled = {target for target, label in zip(TARGETS, entry["label"], strict=True) if label != MISSING}
    assert set(entry["points"]) >= labelled
    assert all(entry[kind.value] for kind in SeriesType)


def test_clean_studies_have_no_faults(quirky, built):
    quirky_ones = set(table(quirky / "quirks.csv")["study_id"])
    clean = set(entries(built[0])) - quirky_ones
    assert len(clean) == 2
    assert not any(kinds_of(built, study) for study in clean)


def test_missing_series_types_have_no_key(quirky, built):
    assert "sagittal_t1" not in entries(built[0])[study_with(quirky, Quirk.MISSING_T1)]


def test_several_stacks_of_a_series_are_kept_apart(quirky, built):
    assert len(entries(built[0])[study_with(quirky, Quirk.SUB_STACKS)]["axial_t2"]) >= 4
    assert len(entries(built[0])[study_with(quirky, Quirk.SEVERAL_AXIAL)]["axial_t2"]) >= 2


def test_a_point_without_a_label_is_kept_and_reported(quirky, tmp_path, built):
    rows = table(built[0] / "quality.csv")
    entry = entries(built[0])[study_with(quirky, Quirk.POINT_WITHOUT_LABEL)]
    reported = rows[(rows["kind"] == "NO_LABEL") & (rows["study_id"] == entry["study_id"])]["target"]
    unlabelled = {target for target, label in zip(TARGETS, entry["label"], strict=True) if label == MISSING}
    assert set(reported) == unlabelled
    assert set(entry["points"]) == set(TARGETS)


def test_folds_are_reported(built):
    assert table(built[0] / "folds.csv")["studies"].astype(int).sum() == len(QUIRKS) + 2


def test_running_twice_writes_the_same(small, tmp_path):
    for name in ("one", "two"):
        build(small, tmp_path / name, folds=2, quiet=True, workers=1 if name == "one" else 2)
    for file in ("datalist.json", "points.csv", "quality.csv"):
        assert (tmp_path / "one" / file).read_text() == (tmp_path / "two" / file).read_text()


def test_resuming_keeps_volumes(small, tmp_path):
    build(small, tmp_path / "out", folds=2, quiet=True)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.nii.gz")}
    build(small, tmp_path / "out", folds=2, quiet=True, resume=True)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.nii.gz")}


def test_a_study_without_images_is_left_out_and_the_rest_is_done(small, tmp_path):
    study = table(small / "train.csv")["study_id"][0]
    shutil.copytree(small, tmp_path / "cohort")
    add_study(tmp_path / "cohort", study)
    shutil.rmtree(tmp_path / "cohort" / "train_images" / study)
    collection = build(tmp_path / "cohort", tmp_path / "out", folds=2, quiet=True)
    assert collection.exit_code is ExitCode.SOME_REFUSED
    assert study not in entries(tmp_path / "out")
    assert {f.kind for f in collection.faults if f.study_id == study} >= {FaultKind.NO_VOLUME, FaultKind.NO_SLICE}


def add_study(folder, study):
    """A copy of a study under the name ``copy``, so that two are left when one goes."""
    shutil.copytree(folder / "train_images" / study, folder / "train_images" / "copy")
    for name in ("train.csv", "train_series_descriptions.csv"):
        rows = table(folder / name)
        pd.concat([rows, rows[rows["study_id"] == study].assign(study_id="copy")]).to_csv(folder / name, index=False)


def test_swapped_sides_are_reported(small, tmp_path):
    path = small / "train_label_coordinates.csv"
    rows = table(path)
    sides = rows["condition"].str.replace("Left", "?").str.replace("Right", "Left").str.replace("?", "Right")
    rows.assign(condition=sides).to_csv(path, index=False)
    collection = build(small, tmp_path / "out", folds=2, quiet=True)
    assert sum(fault.kind is FaultKind.SIDES_SWAPPED for fault in collection.faults) >= 15


def test_points_on_absent_slices_wrong_series_and_outside_are_reported(small, tmp_path):
    path = small / "train_label_coordinates.csv"
    rows = table(path)
    rows.loc[0, "instance_number"] = "4000"
    rows.loc[1, "x"] = "9999"
    wrong = rows[rows["condition"].str.contains("Foraminal")].iloc[0]
    rows.loc[2, ["series_id", "instance_number"]] = [wrong["series_id"], wrong["instance_number"]]
    twice = pd.concat([rows, rows.iloc[[5]]])
    twice.to_csv(path, index=False)
    kinds = {fault.kind for fault in build(small, tmp_path / "out", folds=2, quiet=True).faults}
    assert kinds >= {
        FaultKind.NO_SLICE,
        FaultKind.NO_POINT,
        FaultKind.OUTSIDE_IMAGE,
        FaultKind.WRONG_SERIES_TYPE,
        FaultKind.SECOND_POINT,
    }


def test_strangers_are_reported_and_left_out(small, tmp_path):
    study = table(small / "train.csv")["study_id"][0]
    shutil.copytree(small / "train_images" / study, small / "train_images" / "stranger")
    series = next((small / "train_images" / study).iterdir())
    shutil.copytree(series, series.with_name("extra"))
    collection = build(small, tmp_path / "out", folds=2, quiet=True)
    kinds = {(fault.study_id, fault.kind) for fault in collection.faults}
    assert ("stranger", FaultKind.UNKNOWN_STUDY) in kinds
    assert (study, FaultKind.UNKNOWN_SERIES) in kinds
    assert "stranger" not in entries(tmp_path / "out")


def test_test_studies_have_no_labels(small, tmp_path):
    study = table(small / "train.csv")["study_id"][0]
    (small / "test_images").rmdir()
    (small / "train_images").rename(small / "test_images")
    shutil.rmtree(small / "test_images" / table(small / "train.csv")["study_id"][1])
    series = table(small / "train_series_descriptions.csv")
    series[series["study_id"] == study].to_csv(small / "test_series_descriptions.csv", index=False)
    (small / "train.csv").unlink()
    build(small, tmp_path / "out", quiet=True)
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
        build(small, tmp_path / "out", folds=2, quiet=True)
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
        build(small, tmp_path / "out", folds=2, quiet=True)


def test_a_study_twice_in_the_table_is_refused(small, tmp_path):
    rows = table(small / "train.csv")
    pd.concat([rows, rows.iloc[[0]]]).to_csv(small / "train.csv", index=False)
    with pytest.raises(InvalidTableError, match="row 4: study_id"):
        build(small, tmp_path / "out", folds=2, quiet=True)


def test_a_missing_column_is_named(small, tmp_path):
    rows = table(small / "train.csv").drop(columns=TARGETS[7])
    rows.to_csv(small / "train.csv", index=False)
    with pytest.raises(MissingInputError, match=f"train.csv has no column '{TARGETS[7]}'"):
        build(small, tmp_path / "out", folds=2, quiet=True)


@pytest.mark.parametrize("name", ["train_label_coordinates.csv", "train_series_descriptions.csv"])
def test_a_missing_table_is_named(small, tmp_path, name):
    (small / name).unlink()
    with pytest.raises(MissingInputError, match=name):
        build(small, tmp_path / "out", folds=2, quiet=True)


def test_a_broken_table_is_named(small, tmp_path):
    (small / "train.csv").write_text('study_id,x\n"a,1\n')
    with pytest.raises(SpineError, match=r"train\.csv"):
        build(small, tmp_path / "out", folds=2, quiet=True)


def test_a_missing_folder_and_missing_images_are_named(small, tmp_path):
    with pytest.raises(MissingInputError, match="nowhere"):
        build(tmp_path / "nowhere", tmp_path / "out")
    shutil.rmtree(small / "train_images")
    with pytest.raises(MissingInputError, match="train_images"):
        build(small, tmp_path / "out", folds=2)


def test_too_many_folds_are_refused_before_anything_is_written(small, tmp_path):
    with pytest.raises(InvalidOptionError, match="--folds 3"):
        build(small, tmp_path / "out", folds=3)
    assert not (tmp_path / "out").exists()


def test_command_ends_with_its_exit_codes(small, tmp_path):
    args = ["rsna", str(small), str(tmp_path / "out"), "--folds", "2", "--quiet"]
    result = CliRunner().invoke(cli.app, args)
    assert result.exit_code == ExitCode.DONE, result.output
    assert "2 training and 0 test studies" in result.output
