from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monai_spine.errors import InvalidTableError, SpineError
from monai_spine.spine import MISSING, TARGETS, Grade, Group, columns_of
from monai_spine.tables.out_of_fold import read_out_of_fold
from tests.cohorts import write_datalist
from tests.monai_spine.tables.files import change_rows, part, simulated, write_labels, written


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, list[Path]]:
    return written(tmp_path, part(simulated(), slice(6)))


def refused(solution: Path | None, submissions: list[Path], **options: object) -> str:
    with pytest.raises(SpineError) as caught:
        read_out_of_fold(solution, submissions, **options)
    return str(caught.value)


def test_what_is_read_is_what_was_written(files: tuple[Path, list[Path]]) -> None:
    table = read_out_of_fold(*files)
    assert table.names == ("model_1", "model_2", "model_3")
    assert np.array_equal(table.grades, simulated().labels[:6])
    assert np.allclose(table.probabilities, simulated().submissions[:, :6], atol=1e-8)
    assert table.patients == table.study_ids
    assert table.present.all()


def test_rows_go_out_as_they_came_in(files: tuple[Path, list[Path]], tmp_path: Path) -> None:
    solution, submissions = files
    short = change_rows(submissions[0], tmp_path / "short.csv", lambda rows: rows.iloc[:50])
    table = read_out_of_fold(solution, [short])
    table.write(tmp_path / "again.csv", table.probabilities[0])
    one, other = (pd.read_csv(path) for path in (short, tmp_path / "again.csv"))
    assert list(one["row_id"]) == list(other["row_id"])
    assert np.allclose(one.iloc[:, 1:], other.iloc[:, 1:], atol=1e-8)


def test_studies_that_no_submission_holds_are_left_out(files: tuple[Path, list[Path]], tmp_path: Path) -> None:
    solution, submissions = files
    held = change_rows(submissions[0], tmp_path / "held.csv", lambda rows: rows.iloc[25:75])
    assert read_out_of_fold(solution, [held]).study_ids == simulated().study_ids[1:3]


def test_submissions_that_lack_rows_are_joined(files: tuple[Path, list[Path]], tmp_path: Path) -> None:
    solution, submissions = files
    short = change_rows(submissions[1], tmp_path / "short.csv", lambda rows: rows.iloc[25:])
    table = read_out_of_fold(solution, [submissions[0], short])
    assert table.covered.sum(axis=(1, 2)).tolist() == [150, 125]
    assert np.isnan(table.own_rows[1, 0]).all()
    assert np.allclose(table.own_rows[1, 1:], simulated().submissions[1, 1:6], atol=1e-8)


def test_a_label_that_no_submission_has_a_row_for_is_left_out_and_named(
    files: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    solution, submissions = files
    short = change_rows(submissions[1], tmp_path / "short.csv", lambda rows: rows.iloc[5:])
    table = read_out_of_fold(solution, [short])
    lost = pd.read_csv(submissions[1], dtype=str)["row_id"].iloc[:5]
    labelled = {f"{table.study_ids[0]}_{TARGETS[n]}" for n in np.flatnonzero(simulated().labels[0] != MISSING)}
    assert set(table.left_out) == set(lost) & labelled
    assert (table.grades == MISSING)[~table.present].all()
    assert np.array_equal(table.grades[table.present], simulated().labels[:6][table.present])


def test_rows_of_another_sum_are_refused_or_normalised(files: tuple[Path, list[Path]], tmp_path: Path) -> None:
    solution, submissions = files

    def tripled(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(**{grade.column: rows[grade.column] * 3 for grade in Grade})

    triple = change_rows(submissions[0], tmp_path / "triple.csv", tripled)
    assert "150 rows are not" in refused(solution, [triple])
    table = read_out_of_fold(solution, [triple], normalise=True)
    assert np.allclose(table.probabilities[0], simulated().submissions[0, :6], atol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.assign(row_id="9" + rows["row_id"]), "none of the 6 studies"),
        (lambda rows: rows.assign(row_id=[f"9{rows['row_id'][0]}", *rows["row_id"][1:]]), "1 row for studies that the"),
        (lambda rows: pd.concat([rows, rows.assign(row_id="9" + rows["row_id"])]), "studies that the solution does"),
        (lambda rows: rows.assign(row_id="x" + rows["row_id"] + "x"), "none of the 6 studies"),
        (lambda rows: rows.drop(columns="row_id"), "row_id"),
        (lambda rows: rows.drop(columns="severe"), "no severe"),
        (lambda rows: rows.assign(severe="nan"), "expected numbers of 0 or more"),
        (lambda rows: rows.assign(severe=-1, moderate=2, normal_mild=0), "expected numbers of 0 or more"),
        (lambda rows: pd.concat([rows, rows.iloc[:2]]), "more than once"),
        (lambda rows: rows.iloc[:0], "none of the 6 studies"),
    ],
)
def test_broken_submissions_are_refused(change, message: str, files: tuple[Path, list[Path]], tmp_path: Path) -> None:
    solution, submissions = files
    assert message in refused(solution, [change_rows(submissions[0], tmp_path / "odd.csv", change)])


def test_a_solution_without_any_label_is_refused(files: tuple[Path, list[Path]], tmp_path: Path) -> None:
    bare = write_labels(tmp_path / "bare.csv", simulated().study_ids[:6], np.full((6, 25), MISSING))
    assert "none of 6 studies has any" in refused(bare, files[1])


def test_a_group_of_one_grade_is_refused_by_name_and_one_without_labels_is_no_group(
    files: tuple[Path, list[Path]],
) -> None:
    table = read_out_of_fold(*files)
    grades = table.grades.copy()
    grades[:, columns_of(Group.FORAMINAL)] = Grade.NORMAL_MILD
    with pytest.raises(InvalidTableError, match="foraminal labels of at least two grades"):
        replace(table, grades=grades).check_groups()
    grades[:, columns_of(Group.FORAMINAL)] = MISSING
    without = replace(table, grades=grades)
    without.check_groups()
    assert without.groups == [Group.SPINAL, Group.SUBARTICULAR]


def test_one_file_twice_is_refused_and_equal_names_get_their_folders(
    files: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    solution, submissions = files
    assert "twice" in refused(solution, [submissions[0], submissions[0]])
    (tmp_path / "b").mkdir()
    twin = tmp_path / "b" / "model_1.csv"
    twin.write_bytes(submissions[0].read_bytes())
    assert read_out_of_fold(solution, [submissions[0], twin]).names == (f"{tmp_path.name}/model_1", "b/model_1")


def test_patients_come_from_the_datalist_or_from_a_column_of_the_solution(
    files: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    solution, submissions = files
    owners = ["a", "a", "b", "c", "c", "d"]
    table = pd.read_csv(solution, dtype=str, keep_default_na=False)
    table.insert(1, "patient_id", owners)
    table.to_csv(tmp_path / "with_patients.csv", index=False)
    assert read_out_of_fold(tmp_path / "with_patients.csv", submissions).patients == tuple(owners)
    entries = [{"study_id": s, "patient_id": p} for s, p in zip(table["study_id"], owners, strict=True)]
    whole = write_datalist(tmp_path / "datalist.json", entries)
    assert read_out_of_fold(solution, submissions, datalist=whole).patients == tuple(owners)
    lacking = write_datalist(tmp_path / "lacking.json", entries[1:])
    assert "lacks studies of the solution" in refused(solution, submissions, datalist=lacking)
