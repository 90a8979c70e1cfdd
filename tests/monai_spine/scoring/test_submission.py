from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.scoring.competition import level_prior
from monai_spine.scoring.submission import Labels, read_labels, read_predictions, write_predictions
from monai_spine.spine import FINDINGS, MISSING, TARGETS, Grade

STUDIES = ("4003253", "5000000000")


def wide(labels: np.ndarray) -> pd.DataFrame:
    words = [[Grade(g).title if g != MISSING else "" for g in row] for row in labels]
    table = pd.DataFrame(words, columns=list(TARGETS))
    table.insert(0, "study_id", STUDIES[: len(labels)])
    return table


@pytest.fixture
def labels() -> Labels:
    grades = np.random.default_rng(0).choice([0, 1, 2, MISSING], size=(2, 25))
    return Labels(STUDIES, grades)


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(1).dirichlet([1, 1, 1], size=(2, 25))


def written(path: Path, table: pd.DataFrame) -> Path:
    table.to_csv(path, index=False)
    return path


def test_labels_of_train_csv_are_read_by_column_name_whatever_their_order(tmp_path: Path, labels: Labels) -> None:
    table = wide(labels.grades)
    shuffled = table[["study_id", *sorted(TARGETS)]]
    read = read_labels(written(tmp_path / "train.csv", shuffled))
    assert read.study_ids == STUDIES
    assert np.array_equal(read.grades, labels.grades)


def test_one_hot_rows_and_train_csv_say_the_same(tmp_path: Path, labels: Labels) -> None:
    known = [(s, f) for s in range(2) for f in range(25) if labels.grades[s, f] != MISSING]
    table = pd.DataFrame({"row_id": [FINDINGS[f].row_id(STUDIES[s]) for s, f in known]})
    for grade in Grade:
        table[grade.column] = [int(labels.grades[s, f] == grade) for s, f in known]
    table["sample_weight"] = [2 ** labels.grades[s, f] for s, f in known]
    read = read_labels(written(tmp_path / "solution.csv", table.sample(frac=1, random_state=0)))
    assert set(read.study_ids) == set(STUDIES)
    order = [read.study_ids.index(study) for study in STUDIES]
    assert np.array_equal(read.grades[order], labels.grades)


def test_predictions_come_back_as_written(tmp_path: Path, labels: Labels, rows: np.ndarray) -> None:
    path = tmp_path / "out" / "predictions.csv"
    write_predictions(path, STUDIES, rows)
    assert np.allclose(read_predictions(path, labels).probabilities, rows, atol=1e-8)
    assert [file.name for file in path.parent.iterdir()] == ["predictions.csv"]


def test_predictions_are_written_sorted_and_normalised(tmp_path: Path, rows: np.ndarray) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, STUDIES[::-1], rows * 7)
    table = pd.read_csv(path)
    assert list(table["row_id"]) == sorted(table["row_id"])
    assert np.allclose(table[["normal_mild", "moderate", "severe"]].sum(axis=1), 1, atol=1e-8)


def test_a_missing_row_is_refused_by_name(tmp_path: Path, rows: np.ndarray) -> None:
    labels = Labels(STUDIES, np.zeros((2, 25), dtype=np.int64))
    write_predictions(tmp_path / "p.csv", STUDIES, rows)
    table = pd.read_csv(tmp_path / "p.csv", dtype=str).drop(index=3)
    gone = {f.row_id(s) for s in STUDIES for f in FINDINGS} - set(table["row_id"])
    with pytest.raises(InvalidTableError, match=gone.pop()):
        read_predictions(written(tmp_path / "p.csv", table), labels)


@pytest.mark.parametrize("filling", ["uniform", "prior"])
def test_missing_rows_are_filled_and_counted_when_asked(tmp_path: Path, rows: np.ndarray, filling: str) -> None:
    labels = Labels(STUDIES, np.random.default_rng(2).integers(0, 3, (2, 25)))
    write_predictions(tmp_path / "p.csv", STUDIES[:1], rows[:1])
    read = read_predictions(tmp_path / "p.csv", labels, filling)
    expected = level_prior(labels.grades) if filling == "prior" else np.full((25, 3), 1 / 3)
    assert read.filled == 25
    assert np.allclose(read.probabilities[1], expected, atol=1e-9)


def test_a_row_without_label_may_be_missing(tmp_path: Path, rows: np.ndarray) -> None:
    grades = np.zeros((2, 25), dtype=np.int64)
    grades[1] = MISSING
    write_predictions(tmp_path / "p.csv", STUDIES[:1], rows[:1])
    assert read_predictions(tmp_path / "p.csv", Labels(STUDIES, grades)).filled == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(row_id=t["row_id"].str.replace("4003253", "77")), "does not hold"),
        (lambda t: t.assign(row_id=t["row_id"].str.replace("l1_l2", "l6_s1")), "does not end in"),
        (lambda t: pd.concat([t, t.head(1)]), "more than once"),
        (lambda t: t.assign(severe="much"), "expected numbers"),
        (lambda t: t.assign(severe="-1"), "expected numbers"),
        (lambda t: t.assign(severe="0", moderate="0", normal_mild="0"), "not all 0"),
        (lambda t: t.drop(columns="severe"), "and no severe"),
    ],
)
def test_a_submission_that_breaks_the_form_is_refused(
    tmp_path: Path, labels: Labels, rows: np.ndarray, change: object, message: str
) -> None:
    write_predictions(tmp_path / "p.csv", STUDIES, rows)
    table = change(pd.read_csv(tmp_path / "p.csv", dtype=str))  # type: ignore[operator]
    with pytest.raises(InvalidTableError, match=message):
        read_predictions(written(tmp_path / "p.csv", table), labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=TARGETS[3]), TARGETS[3]),
        (lambda t: t.replace("Severe", "Terrible"), "Terrible"),
        (lambda t: pd.concat([t, t]), "more than once"),
    ],
)
def test_a_solution_that_breaks_the_form_is_refused(tmp_path: Path, change: object, message: str) -> None:
    table = change(wide(np.full((2, 25), 2)))  # type: ignore[operator]
    with pytest.raises(InvalidTableError, match=message):
        read_labels(written(tmp_path / "train.csv", table))


def test_one_hot_rows_that_are_not_one_hot_are_refused(tmp_path: Path) -> None:
    row = {"row_id": FINDINGS[0].row_id("1"), "normal_mild": 1, "moderate": 1, "severe": 0}
    with pytest.raises(InvalidTableError, match="one 1 and two 0"):
        read_labels(written(tmp_path / "s.csv", pd.DataFrame([row])))


def test_no_file_and_an_empty_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="none at"):
        read_labels(tmp_path / "nothing.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InvalidTableError, match="not a readable CSV"):
        read_labels(tmp_path / "empty.csv")


def test_a_submission_has_the_competitions_columns_and_only_the_rows_that_are_present(tmp_path: Path) -> None:
    present = np.zeros((2, 25), dtype=bool)
    present[1, 4] = present[0, 7] = True
    rows = np.tile([0.25, 0.25, 0.5], (2, 25, 1))
    write_predictions(tmp_path / "p.csv", STUDIES, rows, present)
    names = sorted([FINDINGS[4].row_id(STUDIES[1]), FINDINGS[7].row_id(STUDIES[0])])
    lines = ["row_id,normal_mild,moderate,severe", *(f"{name},0.25,0.25,0.5" for name in names)]
    assert (tmp_path / "p.csv").read_text().splitlines() == lines


def test_numbers_of_rows_are_said_in_the_singular_and_plural(tmp_path: Path, rows: np.ndarray) -> None:
    labels = Labels(STUDIES, np.zeros((2, 25), dtype=np.int64))
    write_predictions(tmp_path / "p.csv", STUDIES, rows)
    table = pd.read_csv(tmp_path / "p.csv", dtype=str)
    for count, words in ((1, "lacks 1 row of"), (7, "lacks 7 rows of"), (6, "and 1 more; add them")):
        with pytest.raises(InvalidTableError, match=words):
            read_predictions(written(tmp_path / "q.csv", table.iloc[count:]), labels)
