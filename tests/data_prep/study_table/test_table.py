"""A user's tables: names of columns in many spellings, and all faults at once with their rows."""

import pandas as pd
import pytest

from data_prep.study_table.spelling import column_of, grade_named, plain, series_type_named
from data_prep.study_table.table import read_study_table
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade, SeriesType


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    return tmp_path


def write(folder, rows, name="own.csv"):
    path = folder / name
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def faults_of(*tables):
    with pytest.raises(InvalidTableError) as caught:
        read_study_table(*tables)
    return str(caught.value)


@pytest.mark.parametrize(
    ("spelt", "ours"),
    [
        *[("Study ID", "study"), ("study-id", "study"), ("CASE", "study"), ("Patient", "patient")],
        *[("Folder", "path"), ("Series Type", "series_type"), ("series_description", "series_type")],
        *[("Left Subarticular Stenosis L4/L5", "left_subarticular_stenosis_l4_l5"), ("ward", None), ("", None)],
    ],
)
def test_columns_are_known_in_many_spellings(spelt, ours):
    assert column_of(spelt) == ours


def test_every_title_of_the_vocabulary_is_understood():
    assert [series_type_named(kind.title) for kind in SeriesType] == list(SeriesType)
    assert [grade_named(grade.title) for grade in Grade] == list(Grade)
    assert [grade_named(text) for text in ("", " ", "-1", "2", "SEVERE", "mild", "3", "1.0")] == [
        *(MISSING, MISSING, MISSING, 2, 2),
        *(None, None, None),
    ]
    assert [plain(target) for target in TARGETS] == list(TARGETS)


def test_a_table_of_study_and_path_is_enough(folder):
    found = read_study_table(write(folder, [{"study": "s", "path": "a"}, {"study": "t", "path": "b"}]))
    assert [(study.study, study.patient, study.labels) for study in found.studies] == [
        ("s", "s", None),
        ("t", "t", None),
    ]
    assert found.studies[0].rows[0].path == folder / "a"
    assert not found.has_patients


def test_a_patient_is_called_after_the_first_study(folder):
    rows = [{"study": s, "patient": p, "path": f} for s, p, f in (("x", "P", "a"), ("y", "Q", "b"), ("z", "P", "c"))]
    found = read_study_table(write(folder, rows))
    assert {study.study: study.patient for study in found.studies} == {"x": "x", "y": "y", "z": "x"}


def test_all_faults_of_a_table_are_named_with_their_rows(folder):
    rows = [
        {"study": "s/1", "path": "a", "series_type": "", TARGETS[0]: "Severe", "patient": "p"},
        {"study": "s", "path": "nowhere", "series_type": "cor T2", TARGETS[0]: "Severe", "patient": "p"},
        {"study": "s", "path": "b", "series_type": "Axial T2", TARGETS[0]: "moderate", "patient": "q"},
        {"study": "t", "path": "b", "series_type": "STIR", TARGETS[0]: "bad", "patient": ""},
    ]
    message = faults_of(write(folder, rows))
    assert "own.csv row 2: study is 's/1', expected an id that can name a folder" in message
    assert "own.csv row 3: path is 'nowhere', but there is no such file or folder" in message
    assert "own.csv row 3: series_type is 'cor T2'" in message
    assert f"own.csv row 4: {TARGETS[0]} of study s is 1, but 2 in another row" in message
    assert "own.csv row 4: another patient than in row 3" in message
    assert "own.csv row 5: the same path as row 4" in message
    assert "own.csv row 5: series_type is 'STIR'" in message
    assert f"own.csv row 5: {TARGETS[0]} is 'bad'" in message
    assert "own.csv row 5: no patient" in message
    assert "9 faults" in message


def test_grades_may_come_in_a_long_or_a_wide_table(folder):
    main = write(folder, [{"study": "s", "path": "a"}])
    long = [{"study_id": "s", "condition": "Left Subarticular Stenosis", "level": "L4/L5", "grade": "Severe"}]
    named = [{"study_id": "s", "finding": "left_subarticular_stenosis_l4_l5", "grade": "2"}]
    wide = [{"study_id": "s", "left_subarticular_stenosis_l4_l5": "severe"}]
    labels = [
        read_study_table(main, write(folder, rows, "labels.csv")).studies[0].labels for rows in (long, named, wide)
    ]
    expected = tuple(2 if target == "left_subarticular_stenosis_l4_l5" else MISSING for target in TARGETS)
    assert labels == [expected] * 3


def test_grades_given_twice_must_agree(folder):
    main = write(folder, [{"study": "s", "path": "a", TARGETS[0]: "0"}])
    assert read_study_table(main, write(folder, [{"study": "s", TARGETS[0]: "0"}], "l.csv")).studies[0].labels[0] == 0
    message = faults_of(main, write(folder, [{"study": "s", TARGETS[0]: "1"}], "l.csv"))
    assert f"l.csv row 2: {TARGETS[0]} of study s is 1, but 0 in another row" in message


def test_points_are_read_by_finding_or_by_condition_and_level(folder):
    main = write(folder, [{"study": "s", "path": "a"}])
    points = [{"study": "s", "finding": TARGETS[3], "x": 1, "y": -2.5, "z": 3e1}]
    found = read_study_table(main, None, write(folder, points, "p.csv")).studies[0].points
    assert {finding: point.tolist() for finding, point in found.items()} == {FINDINGS[3]: [1.0, -2.5, 30.0]}


def test_faults_of_further_tables_are_named_too(folder):
    main = write(folder, [{"study": "s", "path": "a"}])
    labels = [{"study": "u", "condition": "Hip", "level": "L4/L5", "grade": "9"}]
    points = [{"study": "s", "finding": TARGETS[3], "x": 1, "y": "nan", "z": 3}] * 2
    message = faults_of(main, write(folder, labels, "l.csv"), write(folder, points, "p.csv"))
    assert "l.csv row 2: study 'u' is not in own.csv" in message
    assert "l.csv row 2: 'Hip' at 'L4/L5' is none of the 25 findings" in message
    assert "l.csv row 2: grade is '9'" in message
    assert "p.csv row 2: y is 'nan'" in message


def test_a_second_point_of_a_finding_is_a_fault(folder):
    points = [{"study": "s", "finding": TARGETS[3], "x": 1, "y": 2, "z": 3}] * 2
    main = write(folder, [{"study": "s", "path": "a"}])
    assert f"p.csv row 3: a second point of {TARGETS[3]}" in faults_of(main, None, write(folder, points, "p.csv"))


def test_columns_that_must_be_there_are_named_with_their_spellings(folder):
    with pytest.raises(MissingInputError, match=r"expected the columns 'path' \(or file, folder, location, image\)"):
        read_study_table(write(folder, [{"study": "s", "where": "a"}]))
    main = write(folder, [{"study": "s", "path": "a"}])
    with pytest.raises(MissingInputError, match="finding, or condition and level"):
        read_study_table(main, None, write(folder, [{"study": "s", "x": 1, "y": 1, "z": 1}], "p.csv"))


def test_two_columns_that_mean_the_same_are_a_fault(folder):
    message = faults_of(write(folder, [{"study": "s", "case": "s", "path": "a"}]))
    assert "the columns 'study' and 'case' both mean study" in message


def test_columns_that_mean_nothing_are_mentioned(folder):
    found = read_study_table(write(folder, [{"study": "s", "path": "a", "Ward": "7", "patient": "p"}]))
    assert found.notes() == ["columns not used: Ward"]


def test_rows_with_more_cells_than_the_header_are_refused(folder):
    (folder / "own.csv").write_text("study,path\ns,a,x\nt,b,y\n")
    with pytest.raises(InvalidTableError, match="as many cells in each row as in the header"):
        read_study_table(folder / "own.csv")
