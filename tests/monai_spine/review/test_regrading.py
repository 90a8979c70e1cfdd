"""A study is graded again by its corrected points, and every file of the output agrees with them."""

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.errors import SpineError
from monai_spine.levels.files import read_study
from monai_spine.levels.marked import MARKED
from monai_spine.levels.sagittal.points import Structure
from monai_spine.prediction.dicom_study import Study
from monai_spine.prediction.models import Models
from monai_spine.prediction.outcomes import read_outcome
from monai_spine.prediction.points_file import read_points_file
from monai_spine.prediction.run import predict
from monai_spine.prediction.study_task import StudyResult, StudyTask
from monai_spine.review import regrading as regrading_module
from monai_spine.review.changes import Changes
from monai_spine.review.regrading import Progress, Regrading
from monai_spine.review.studies import ReviewStudies
from monai_spine.review.writing import TABLES, Writing, update_tables
from monai_spine.spine import Level
from tests.monai_spine.prediction.parts import inputs

CANAL = "spinal_canal_stenosis_l4_l5"


@pytest.fixture
def page(graded: Path, folders: list[Path], opened: Models) -> Iterator[tuple[Changes, Regrading, ReviewStudies]]:
    studies, writing = ReviewStudies(graded, [folders[0].parent]), Writing(graded)
    regrading = Regrading(studies, lambda: opened, writing)
    regrading.start()
    yield Changes(studies, regrading, writing), regrading, studies
    regrading.stop()


def wait(regrading: Regrading, number: int = 0) -> None:
    until = time.monotonic() + 60
    while regrading.state(number).progress in {Progress.WAITING, Progress.GRADING}:
        assert time.monotonic() < until
        time.sleep(0.02)


def move(changes: Changes, out: Path, up: float = 6.0) -> list[float]:
    found = json.loads((out / "s1" / "findings.json").read_text())["findings"]
    (before,) = [one["point"] for one in found if one["finding"] == CANAL]
    after = [before[0], before[1], before[2] + up]
    changes.apply(0, {"what": "point", "finding": CANAL, "after": after, "version": 0, "by": "AB"})
    return after


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as table:
        return list(csv.reader(table))


@pytest.mark.slow
def test_all_files_agree_with_the_corrected_point_and_other_studies_stay(page: tuple, graded: Path) -> None:
    changes, regrading, studies = page
    before = {name: rows(graded / name) for name in TABLES}
    other = {file.name: file.read_bytes() for file in (graded / "s2").iterdir()}
    weighted = json.loads((graded / "s1" / "outcome.json").read_text())["weighted"]
    after = move(changes, graded)
    wait(regrading)
    assert regrading.state(0).progress is Progress.IDLE
    found = {one["finding"]: one for one in json.loads((graded / "s1" / "findings.json").read_text())["findings"]}
    assert found[CANAL]["point"] == pytest.approx(after, abs=1e-3)
    assert found[CANAL]["flags"] == [MARKED]
    assert [name for name, one in found.items() if MARKED in one["flags"]] == [CANAL]
    assert json.loads((graded / "s1" / "outcome.json").read_text())["weighted"] != weighted
    points = {one.key: one for one in read_study(graded / "s1").points}
    assert points[Structure.CANAL, Level.L4_L5, None].world == pytest.approx(after, abs=1e-3)
    for name in TABLES:
        new = rows(graded / name)
        assert [row for row in new if "s2" in row[0]] == [row for row in before[name] if "s2" in row[0]]
        assert len(new) == len(before[name])
    assert rows(graded / "predictions.csv") != before["predictions.csv"]
    assert {file.name: file.read_bytes() for file in (graded / "s2").iterdir()} == other
    assert studies.study(0).result.findings[3].point == pytest.approx(after, abs=1e-3)
    assert not list(graded.glob(".review*"))


@pytest.mark.slow
def test_undo_leads_back_to_the_points_and_grades_of_the_program(page: tuple, graded: Path) -> None:
    changes, regrading, _ = page
    before = json.loads((graded / "s1" / "findings.json").read_text())["findings"]
    move(changes, graded)
    wait(regrading)
    changes.apply(0, {"what": "undo", "version": 1, "by": "CD"})
    wait(regrading)
    after = json.loads((graded / "s1" / "findings.json").read_text())["findings"]
    for one, other in zip(before, after, strict=True):
        assert other["point"] == pytest.approx(one["point"], abs=2e-3)
        assert (other["flags"], other["point_confidence"]) == (
            one["flags"],
            pytest.approx(one["point_confidence"], abs=1e-3),
        )
        assert other["grade"] == one["grade"]
    (change,) = read_corrections(graded / "s1" / NAME).changes
    assert change.undone is not None
    assert change.undone.by == "CD"


@pytest.mark.slow
def test_predict_with_the_corrections_keeps_what_the_page_has_graded(
    page: tuple, graded: Path, folders: list[Path], opened: Models
) -> None:
    changes, regrading, _ = page
    after = move(changes, graded)
    wait(regrading)
    for named in (graded, graded / "s1" / NAME):
        marked = read_points_file(named, ["s1", "s2"])
        assert set(marked) == {"s1"}
        summary = predict(inputs(*folders), graded, opened, marked=marked, quiet=True)
        assert summary.kept == 2
    predict(inputs(*folders), graded, opened, quiet=True)  # without them the program's points are back
    found = {one["finding"]: one for one in json.loads((graded / "s1" / "findings.json").read_text())["findings"]}
    assert found[CANAL]["point"] != pytest.approx(after, abs=1)
    assert (graded / "s1" / NAME).is_file()
    with pytest.raises(SpineError, match="found none"):
        read_points_file(folders[0].parent, ["s1"])


def test_models_that_could_not_be_opened_once_are_opened_again(
    graded: Path, folders: list[Path], opened: Models
) -> None:
    answers = [SpineError("dictionary changed size during iteration"), opened]

    def models() -> Models:
        answer = answers.pop(0)
        if isinstance(answer, SpineError):
            raise answer
        return answer

    studies, writing = ReviewStudies(graded, [folders[0].parent]), Writing(graded)
    regrading = Regrading(studies, models, writing)
    regrading.start()
    move(Changes(studies, regrading, writing), graded)
    wait(regrading)
    regrading.stop()
    assert regrading.state(0).progress is Progress.IDLE


def test_models_that_cannot_be_opened_are_a_message_and_the_change_stays(graded: Path, folders: list[Path]) -> None:
    studies, writing = ReviewStudies(graded, [folders[0].parent]), Writing(graded)

    def none() -> Models:
        raise SpineError("there are no weights")

    regrading = Regrading(studies, none, writing)
    regrading.start()
    before = (graded / "s1" / "findings.json").read_bytes()
    move(Changes(studies, regrading, writing), graded)
    wait(regrading)
    assert regrading.state(0) == type(regrading.state(0))(Progress.FAILED, "there are no weights")
    assert (graded / "s1" / "findings.json").read_bytes() == before
    assert read_corrections(graded / "s1" / NAME).version == 1
    regrading.stop()


def test_a_grade_that_is_given_while_a_study_is_graded_is_in_findings_and_table(
    graded: Path, folders: list[Path], opened: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, writing = ReviewStudies(graded, [folders[0].parent]), Writing(graded)
    again = Regrading(studies, lambda: opened, writing)
    changes = Changes(studies, again, writing)

    class Meanwhile(StudyTask):
        def __call__(self, study: Study) -> StudyResult:
            result = super().__call__(study)
            changes.apply(0, {"what": "grade", "finding": CANAL, "after": "severe", "version": 0, "by": "AB"})
            return result

    monkeypatch.setattr(regrading_module, "StudyTask", Meanwhile)
    again._grade(studies.study(0), opened)
    found = json.loads((graded / "s1" / "findings.json").read_text())["findings"]
    assert [one["reader"]["grade"] for one in found if one["reader"]] == ["severe"]
    assert [row[1] for row in rows(graded / "findings.csv") if row[-2:] == ["severe", "AB"]] == [CANAL]
    fingerprint = json.loads((graded / "s1" / "outcome.json").read_text())["fingerprint"]
    assert read_outcome(graded / "s1", fingerprint) is not None  # a grade is no reason to grade again


def test_rows_of_a_study_are_replaced_in_place_and_keep_their_dicom_objects(tmp_path: Path) -> None:
    head = "study,finding,series,slice,sop_instance_uid,instance_number,frame\n"
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    (old / "findings.csv").write_text(head + "a,x,t2,1,1.2,7,\n'=b,x,t2,3,1.9,9,\n'=b,y,t2,4,1.8,8,\nc,x,t2,1,1.3,1,\n")
    (new / "findings.csv").write_text(head + "'=b,x,t2,4,,,\n'=b,y,t2,5,,,\n")
    (old / "predictions.csv").write_text("row_id,normal_mild\n'=b_spinal_canal_stenosis_l1_l2,1\nbad,2\n")
    (new / "predictions.csv").write_text("row_id,normal_mild\n'=b_spinal_canal_stenosis_l1_l2,3\n")
    (new / "studies.csv").write_text("study\n=b\n")
    update_tables(old, new, "=b")
    assert (old / "findings.csv").read_text() == (
        head + "a,x,t2,1,1.2,7,\n'=b,x,t2,4,1.8,8,\n'=b,y,t2,5,,,\nc,x,t2,1,1.3,1,\n"
    )
    assert (old / "predictions.csv").read_text() == "row_id,normal_mild\n'=b_spinal_canal_stenosis_l1_l2,3\nbad,2\n"
    assert not (old / "studies.csv").exists()


@pytest.mark.slow
def test_a_readers_grade_is_on_the_page_at_once_and_stays_when_points_move(page: tuple, graded: Path) -> None:
    changes, regrading, _ = page
    report = graded / "s1" / "report.html"
    report.write_text("the page before")
    weighted = json.loads((graded / "s1" / "outcome.json").read_text())["weighted"]
    changes.apply(0, {"what": "grade", "finding": CANAL, "after": "severe", "version": 0, "by": "AB"})
    until = time.monotonic() + 60
    while "✎ AB: severe" not in report.read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert json.loads((graded / "s1" / "outcome.json").read_text())["weighted"] == weighted
    found = {one["finding"]: one for one in json.loads((graded / "s1" / "findings.json").read_text())["findings"]}
    after = [*found[CANAL]["point"][:2], found[CANAL]["point"][2] + 6.0]
    changes.apply(0, {"what": "point", "finding": CANAL, "after": after, "version": 1, "by": "AB"})
    wait(regrading)
    found = {one["finding"]: one for one in json.loads((graded / "s1" / "findings.json").read_text())["findings"]}
    assert found[CANAL]["reader"]["grade"] == "severe"
    assert found[CANAL]["point"] == pytest.approx(after, abs=1e-3)
    assert "✎ AB: severe" in report.read_text()
    assert read_corrections(graded / "s1" / NAME).version == 2
    (row,) = [row for row in rows(graded / "findings.csv") if row[:2] == ["s1", CANAL]]
    assert row[-2:] == ["severe", "AB"]
