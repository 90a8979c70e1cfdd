"""Changes are checked, saved at once, and never lost."""

import csv
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.output_lock import LOCK
from monai_spine.prediction.findings_table import write_findings_table
from monai_spine.prediction.object_files import MANUFACTURER
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.reader_grades import with_reader
from monai_spine.review import writing
from tests.adversarial.test_output_lock import HOLD
from tests.monai_spine.prediction.parts import write_object
from tests.monai_spine.review.outputs import CANAL, Site, serving


def test_every_change_is_in_the_file_before_it_is_answered(site: Site) -> None:
    file = site.out / "a" / NAME
    requests = [
        {"what": "point", "finding": CANAL, "after": [1.0, 2.0, 3.0]},
        {"what": "grade", "finding": CANAL, "after": "severe"},
        {"what": "levels", "after": "up"},
        {"what": "done", "after": True},
        {"what": "undo"},
    ]
    for version, request in enumerate(requests):
        status, state = site.client.post(0, version=version, **request)
        assert (status, state["version"]) == (200, version + 1)
        assert read_corrections(file).version == version + 1
    corrections = read_corrections(file)
    assert [change.what.value for change in corrections.changes] == ["point", "grade", "levels", "done"]
    assert corrections.changes[0].before == (3.0, 2.0, -5.0)
    assert corrections.changes[1].before == "normal_mild"
    assert corrections.people == ("AB",)
    assert corrections.state.points["spinal_canal_stenosis_l3_l4"].position == (1.0, 2.0, 3.0)
    assert corrections.state.grades == {"spinal_canal_stenosis_l3_l4": "severe"}
    assert corrections.state.done is None
    assert set(corrections.volumes) == {"sagittal_t1.nii.gz", "sagittal_t2.nii.gz", "axial_t2.nii.gz"}
    assert not list(site.out.rglob("*.partial"))
    assert not (site.out / LOCK).exists()
    assert not (site.out / "b" / NAME).exists()


def test_a_second_window_is_told_and_loses_nothing(site: Site) -> None:
    site.client.post(0, version=0, what="grade", finding=CANAL, after="severe")
    status, content = site.client.post(0, version=0, what="grade", finding=CANAL, after="moderate")
    assert status == 409
    assert "Another window" in content["message"]
    assert content["study"]["version"] == 1
    assert read_corrections(site.out / "a" / NAME).state.grades == {CANAL: "severe"}
    assert site.client.post(0, version=1, what="grade", finding=CANAL, after="moderate")[0] == 200


def test_of_many_changes_at_once_those_that_were_answered_stand_and_no_other(site: Site) -> None:
    """Two servers of one folder, as two people on one machine have them, and several threads of each."""
    accepted: list[str] = []

    def work(client: object, name: str) -> None:
        for _ in range(40):
            version = client.get("/api/studies/0")["version"]
            if client.post(0, version=version, what="grade", finding=name, after="severe")[0] == 200:
                accepted.append(name)
                return

    with serving(site.out) as other:
        names = [f"spinal_canal_stenosis_{level}" for level in ("l1_l2", "l2_l3", "l3_l4", "l4_l5")]
        clients = [site.client, other.client] * 2
        threads = [threading.Thread(target=work, args=pair) for pair in zip(clients, names, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(accepted) == sorted(names)
    corrections = read_corrections(site.out / "a" / NAME)
    assert sorted(str(change.finding) for change in corrections.changes) == sorted(names)
    assert set(corrections.state.grades) == set(names)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"what": "point", "finding": CANAL, "after": [900.0, 0.0, 0.0]}, "outside"),
        ({"what": "point", "finding": CANAL, "after": [1.0, 2.0]}, "three numbers"),
        ({"what": "point", "finding": "../../etc", "after": [1.0, 2.0, 3.0]}, "25 findings"),
        ({"what": "grade", "finding": CANAL, "after": "worse"}, "grade"),
        ({"what": "levels", "after": "sideways"}, "up or down"),
        ({"what": "explode"}, "expected a change"),
        ({"what": "undo"}, "no change"),
        ({"what": "grade", "finding": CANAL, "after": "severe", "by": ""}, "initials"),
        ({"what": "grade", "finding": CANAL, "after": "severe", "by": "<b>"}, "initials"),
        ({"what": ["grade"], "finding": CANAL, "after": "severe"}, "expected a change"),
    ],
)
def test_changes_that_cannot_be_made_are_refused_with_the_reason(site: Site, request_: dict, words: str) -> None:
    status, content = site.client.post(0, version=0, **request_)
    assert (status, words in content["message"]) == (400, True)
    assert not (site.out / "a" / NAME).exists()


def test_a_damaged_file_is_shown_and_never_overwritten(site: Site) -> None:
    file = site.out / "a" / NAME
    file.write_text("{}")
    assert "corrections" in site.client.get("/api/studies/0")["message"]
    assert site.client.post(0, version=0, what="done", after=True)[0] == 400
    assert file.read_text() == "{}"
    assert site.client.get("/api/studies/1")["version"] == 0


def test_while_another_run_writes_nothing_is_saved_and_the_page_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_PATIENCE_SECONDS", 0.2)
    command = [sys.executable, "-c", HOLD.replace('/ "out"', ""), str(site.out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        status, content = site.client.post(0, version=0, what="done", after=True)
        assert status == 503
        assert "not saved" in content["message"]
        assert f"process {process.pid}" in content["message"]
        assert site.client.get("/api/studies/0")["version"] == 0
    finally:
        process.kill()
        process.wait()
    assert site.client.post(0, version=0, what="done", after=True)[0] == 200


def test_a_kill_at_any_moment_leaves_whole_files(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced in one step: what a write that broke off leaves is another, hidden file."""
    site.client.post(0, version=0, what="done", after=True)
    before = (site.out / "a" / NAME).read_bytes()
    (site.out / "a" / f".{NAME}.1{'.partial'}").write_bytes(before[:100])
    with serving(site.out) as again:
        assert again.client.get("/api/studies/0")["version"] == 1
        assert again.client.post(0, version=1, what="undo")[0] == 200


def test_studies_without_images_or_findings_can_be_graded_or_not(site: Site, tmp_path: Path) -> None:
    found = json.loads((site.out / "a" / "findings.json").read_text())
    bare, refused = site.out / "c", site.out / "d"
    bare.mkdir()
    refused.mkdir()
    (bare / "findings.json").write_text(json.dumps({**found, "study_id": "c", "folder": ".", "volumes": {}}))
    (refused / "outcome.json").write_text(json.dumps({"study_id": "d", "refused": "no lumbar spine found"}))
    with serving(site.out) as again:
        assert again.client.get("/api/studies/2")["volumes"] == []
        assert again.client.post(2, version=0, what="grade", finding=CANAL, after="severe")[0] == 200
        assert again.client.post(2, version=1, what="point", finding=CANAL, after=[0, 0, 0])[0] == 400
        assert "No lumbar spine was found" in again.client.get("/api/studies/3")["fault"]
        assert again.client.post(3, version=0, what="done", after=True)[0] == 400


def test_a_grade_stands_beside_the_programs_in_findings_and_table_and_old_dicom_objects_go(site: Site) -> None:
    file, table = site.out / "a" / "findings.json", site.out / "findings.csv"
    before = json.loads(file.read_text())
    write_findings_table(site.out, [PendingStudy({"study_id": name}) for name in ("a", "b")])
    dicom = site.out / "a" / "dicom" / "sr.dcm"
    write_object(dicom, MANUFACTURER)
    scan = dicom.with_name("keyimages_1.dcm")
    write_object(scan, "A scanner")
    assert site.client.post(0, version=0, what="grade", finding=CANAL, after="severe")[0] == 200
    assert site.client.post(0, version=1, what="done", after=True)[0] == 200
    after = json.loads(file.read_text())
    signed = {one["finding"]: one.pop("reader") for one in after["findings"]}
    assert {name: (one["grade"], one["by"]) for name, one in signed.items() if one} == {CANAL: ("severe", "AB")}
    assert after.pop("reviewed")["by"] == "AB"
    assert after == before
    rows = list(csv.DictReader(table.open()))
    assert [(row["study"], row["finding"], row["grade"]) for row in rows if row["reader"]] == [
        ("a", CANAL, "normal_mild")
    ]
    assert {row["reader_grade"] for row in rows} == {"", "severe"}
    assert not dicom.exists()
    assert scan.exists()
    assert site.client.post(0, version=2, what="undo")[0] == 200
    assert site.client.post(0, version=3, what="undo")[0] == 200
    assert not any(one["reader"] for one in json.loads(file.read_text())["findings"])
    assert not any(row["reader"] for row in csv.DictReader(table.open()))


def test_a_grade_never_stands_at_a_level_that_another_grading_names_otherwise(site: Site) -> None:
    folder = site.out / "a"
    assert site.client.post(0, version=0, what="grade", finding=CANAL, after="severe")[0] == 200
    assert site.client.post(0, version=1, what="levels", after="up")[0] == 200
    content = json.loads((folder / "findings.json").read_text())
    assert not any(one["reader"] for one in content["findings"])  # they have the names before
    points = read_corrections(folder / NAME).state.points
    for one in content["findings"]:  # as after the next grading
        one["point"] = list(points[one["finding"]].position) if one["finding"] in points else None
    read = {one["finding"]: one["reader"] for one in with_reader(content, folder)["findings"] if one["reader"]}
    assert list(read) == ["spinal_canal_stenosis_l3_l4"]
