import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.data.datalist import check_labels, check_no_leak, label_array, read_datalist, split_folds, volumes
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.spine import SeriesType
from tests.cohorts import write_cohort, write_datalist


@pytest.fixture
def datalist(tmp_path: Path) -> Path:
    return write_cohort(tmp_path, studies=4)


def entries(datalist: Path) -> list[dict]:
    return json.loads(datalist.read_text())["training"]


def test_records_hold_what_the_file_says_with_absolute_paths(datalist: Path) -> None:
    records = read_datalist(datalist)
    assert [record["study_id"] for record in records] == [entry["study_id"] for entry in entries(datalist)]
    assert label_array(records).tolist() == [entry["label"] for entry in entries(datalist)]
    assert all(Path(file).is_file() for record in records for file in volumes(record))


def test_points_become_numbers_in_mm(datalist: Path) -> None:
    changed = entries(datalist)
    changed[0]["points"] = {"spinal_canal_stenosis_l1_l2": [12, -30.5, 88.0]}
    write_datalist(datalist, changed)
    assert read_datalist(datalist)[0]["points"] == {"spinal_canal_stenosis_l1_l2": (12.0, -30.5, 88.0)}


def test_a_study_may_lack_series_labels_and_points(datalist: Path) -> None:
    bare = {"study_id": "1", "sagittal_t2": entries(datalist)[0]["sagittal_t2"]}
    record = read_datalist(write_datalist(datalist, [bare]))[0]
    assert (record["axial_t2"], record["patient_id"], record["points"]) == ([], "1", {})
    assert (record["label"] == -1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [0] * 24}, "expected label as 25"),
        ({"label": [3] * 25}, "expected label as 25"),
        ({"label": [True] * 25}, "expected label as 25"),
        ({"fold": "0"}, "expected fold as an integer"),
        ({"sagittal_t1": "a.nii.gz"}, "sagittal_t1 as a list"),
        ({"points": {"nose": [1, 2, 3]}}, "expected points"),
        ({"points": {"spinal_canal_stenosis_l1_l2": [1, 2, float("nan")]}}, "expected points"),
        ({"study_id": 17}, "study_id as a string"),
    ],
)
def test_an_entry_that_breaks_the_format_is_named(datalist: Path, change: dict, message: str) -> None:
    changed = entries(datalist)
    changed[1].update(change)
    with pytest.raises(InvalidTableError, match=message):
        read_datalist(write_datalist(datalist, changed))


def test_a_study_without_any_volume_is_left_out_with_a_warning(
    datalist: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed = entries(datalist)
    changed[1].update({kind.value: [] for kind in SeriesType})
    write_datalist(datalist, changed)
    kept = [record["study_id"] for record in read_datalist(datalist)]
    assert kept == [entry["study_id"] for n, entry in enumerate(changed) if n != 1]
    assert f"left out 1 study without any volume: {changed[1]['study_id']}" in caplog.text


def test_a_datalist_without_any_volume_is_an_error(datalist: Path) -> None:
    bare = [{"study_id": entry["study_id"]} for entry in entries(datalist)]
    with pytest.raises(InvalidTableError, match=r"none of \d studies has any"):
        read_datalist(write_datalist(datalist, bare))


def test_a_datalist_of_images_for_classification_is_told_apart(datalist: Path) -> None:
    images = [{"image": ["a.png"], "label": 3, "group": "1", "fold": 0}]
    with pytest.raises(InvalidTableError, match="expected a datalist of studies, but found one of images"):
        read_datalist(write_datalist(datalist, images, targets=[], classes=["a", "b"]))


def test_all_faults_are_told_at_once(datalist: Path) -> None:
    changed = entries(datalist)
    changed[0]["label"], changed[1]["fold"] = [9], "x"
    with pytest.raises(InvalidTableError) as caught:
        read_datalist(write_datalist(datalist, changed))
    assert all(changed[n]["study_id"] in str(caught.value) for n in (0, 1))


def test_a_study_that_stands_there_twice_is_refused(datalist: Path) -> None:
    twice = entries(datalist)[:1] * 2
    with pytest.raises(InvalidTableError, match="appears twice"):
        read_datalist(write_datalist(datalist, twice))


def test_a_volume_that_is_not_there_is_named(datalist: Path) -> None:
    gone = datalist.parent / entries(datalist)[2]["axial_t2"][0]
    gone.unlink()
    with pytest.raises(MissingInputError, match=gone.name):
        read_datalist(datalist)


@pytest.mark.parametrize(
    ("content", "message"),
    [("not json", "is not JSON"), ("[]", "expected the schema"), ('{"schema": "other"}', "expected the schema")],
)
def test_what_is_no_datalist_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "datalist.json"
    path.write_text(content)
    with pytest.raises(InvalidTableError, match=message):
        read_datalist(path)


def test_targets_in_another_order_are_refused(datalist: Path) -> None:
    with pytest.raises(InvalidTableError, match=r"train\.csv's order"):
        read_datalist(write_datalist(datalist, entries(datalist), targets=["a"]))


def test_an_empty_section_says_which_sections_there_are(datalist: Path) -> None:
    with pytest.raises(InvalidTableError, match=r"holds \['training'\]"):
        read_datalist(datalist, "test")


def test_no_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="data_prep rsna"):
        read_datalist(tmp_path / "datalist.json")


def test_folds_part_the_studies(datalist: Path) -> None:
    records = read_datalist(datalist)
    training, validation = split_folds(records, 1)
    assert len(training) + len(validation) == len(records)
    assert {record["fold"] for record in validation} == {1}
    assert 1 not in {record["fold"] for record in training}


def test_a_patient_on_both_sides_is_an_error(datalist: Path) -> None:
    records = read_datalist(datalist)
    records[0]["patient_id"] = records[1]["patient_id"]
    with pytest.raises(InvalidTableError, match="1 patient with studies both"):
        split_folds(records, 1)


def test_a_patient_in_two_folds_or_a_study_twice_is_an_error_that_names_them(datalist: Path) -> None:
    listed = entries(datalist)
    for entry in listed[:2]:
        entry["patient_id"] = "somebody"
    with pytest.raises(InvalidTableError, match="patient somebody has studies in the folds 0, 1"):
        read_datalist(write_datalist(datalist, listed))
    check_no_leak(listed[:1] + listed[2:])
    with pytest.raises(InvalidTableError, match=f"study {listed[2]['study_id']} appears twice"):
        check_no_leak([*listed[2:], listed[2]])


def test_a_fold_that_does_not_exist_is_an_error(datalist: Path) -> None:
    with pytest.raises(InvalidTableError, match=r"the folds are \[0, 1\]"):
        split_folds(read_datalist(datalist), 7)


def test_studies_without_fold_are_named(datalist: Path) -> None:
    records = read_datalist(datalist)
    records[0]["fold"] = None
    with pytest.raises(InvalidTableError, match=records[0]["study_id"]):
        split_folds(records, 0)


def test_labels_are_integers(datalist: Path) -> None:
    assert label_array(read_datalist(datalist)).dtype == np.int64


@pytest.mark.parametrize("bare", [0, 1])
def test_a_side_without_any_label_of_what_is_learnt_is_refused(datalist: Path, bare: int) -> None:
    sides = split_folds(read_datalist(datalist), 0)
    check_labels(*sides)
    for record in sides[bare]:
        record["label"][5:] = -1
    check_labels(*sides, conditions=["spinal_canal_stenosis"])
    with pytest.raises(InvalidTableError, match=["to train on", "to validate on"][bare]):
        check_labels(*sides, conditions=["left_subarticular_stenosis"])
