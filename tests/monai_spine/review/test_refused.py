"""Refused studies: levels are placed in their images, and then they are graded; or the page says why not."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.errors import MissingInputError
from monai_spine.levels.marked import MARKED
from monai_spine.prediction.models import Models
from monai_spine.report.run import run_report
from monai_spine.review.changes import Changes
from monai_spine.review.regrading import Progress, Regrading
from monai_spine.review.studies import ReviewStudies
from monai_spine.review.writing import TABLES, Writing
from monai_spine.spine import Level
from tests.cohorts import write_study
from tests.monai_spine.prediction.parts import points_of_spine
from tests.monai_spine.review.outputs import serving, write_output
from tests.monai_spine.review.test_regrading import rows, wait

CANALS = [f"spinal_canal_stenosis_{level.value}" for level in Level]
HEAD = "study,series_uid,stack,description,plane,files,slices,status,reason,detail,nifti"


def refuse(out: Path, study: str, reason: str = "no lumbar spine found") -> Path:
    """A refused study, as ``predict`` leaves one."""
    folder = out / study
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "outcome.json").write_text(json.dumps({"study_id": study, "refused": reason}))
    return folder


def convert(out: Path, study: str, *names: str, refused: str = "") -> None:
    """Volumes of a study that came as DICOM, and the converter's table."""
    write_study(out / "volumes" / study, np.random.default_rng(0))
    lines = [f"{study},1.2.{n},1,,sagittal,9,9,converted,,,{study}/{name}" for n, name in enumerate(names)]
    lines += [f"{study},1.3,1,,sagittal,9,9,refused,{refused},why,"] if refused else []
    (out / "volumes" / "manifest.csv").write_text("\n".join([HEAD, *lines, ""]))


def test_levels_are_placed_in_the_volumes_of_a_refused_study_and_nothing_else_is_changed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refuse(out, "r")
    convert(out, "r", "sagittal_t2.nii.gz", "axial_t2.nii.gz")
    with serving(out) as site:
        state = site.client.get("/api/studies/0")
        assert (state["placing"], [one["name"] for one in state["findings"]]) == (True, CANALS)
        assert [one["title"] for one in state["volumes"]] == ["Sagittal T2/STIR", "Axial T2"]
        assert "No lumbar spine was found in its sagittal images." in state["fault"]
        assert site.client.ask("GET", "/slices/0/0/0.png").status == 200
        middle = np.array(state["volumes"][0]["to_world"])[:, 3] * 0.9
        for version, name in enumerate(CANALS):
            status, after = site.client.post(0, version=version, what="point", finding=name, after=middle.tolist())
            # Only then is it graded; nobody does it here, so it waits.
            assert (status, after["grading"]["progress"]) == (200, "waiting" if name == CANALS[-1] else "idle")
        for change in ({"what": "grade", "finding": CANALS[0], "after": "severe"}, {"what": "done", "after": True}):
            status, answer = site.client.post(0, version=5, **change)
            assert (status, "no grades yet" in answer["message"]) == (400, True)
        corrections = read_corrections(out / "r" / NAME)
        assert (set(corrections.state.points), corrections.points, corrections.grades) == (set(CANALS), {}, {})
        assert set(corrections.volumes) == {"sagittal_t2.nii.gz", "axial_t2.nii.gz"}


def test_with_fewer_levels_it_is_graded_when_it_is_asked_for(tmp_path: Path) -> None:
    refuse(tmp_path, "r")
    convert(tmp_path, "r", "sagittal_t2.nii.gz")
    with serving(tmp_path) as site:
        middle = np.array(site.client.get("/api/studies/0")["volumes"][0]["to_world"])[:, 3] * 0.9
        site.client.post(0, version=0, what="point", finding=CANALS[2], after=middle.tolist())
        assert site.client.post(0, what="regrade")[1]["grading"]["progress"] == "waiting"


@pytest.mark.parametrize("made", ["axial alone", "not converted", "grey", "gone"])
def test_where_points_cannot_help_the_page_says_so(tmp_path: Path, made: str) -> None:
    out = write_output(tmp_path, ["a"])
    reason = "expected a sagittal T1 or T2 series to find the levels in, but found none; 1.3, stack 1: SHEARED: why"
    refuse(out, "r", reason if made == "not converted" else "no lumbar spine found")
    names = {"axial alone": ["axial_t2.nii.gz"], "grey": ["sagittal_t2.nii.gz"], "not converted": []}
    if made != "gone":
        convert(out, "r", *names[made], refused="SHEARED" if made == "not converted" else "")
    if made == "grey":
        file = out / "volumes" / "r" / "sagittal_t2.nii.gz"

        image = nib.load(file)
        nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine), file)
    with serving(out) as site:
        state = site.client.get("/api/studies/1")
        assert (state["placing"], state["findings"]) == (False, [])
        words = "with -i and the inputs of predict" if made == "gone" else "Points cannot mend that"
        assert words in state["fault"]
        assert ("SHEARED" in state["fault"]) is (made == "not converted")
        status, answer = site.client.post(1, version=0, what="point", finding=CANALS[0], after=[0, 0, 0])
        assert (status, words in answer["message"]) == (400, True)
        assert site.client.post(1, what="regrade")[0] == 400
    assert not (out / "r" / NAME).exists()


def test_volumes_that_the_table_names_lead_nowhere_outside(tmp_path: Path) -> None:
    out = write_output(tmp_path / "out", ["a"])
    refuse(out, "r")
    convert(out, "r", "sagittal_t2.nii.gz")
    write_study(tmp_path / "secret", np.random.default_rng(0))
    table = out / "volumes" / "manifest.csv"
    table.write_text(table.read_text().replace("r/sagittal_t2", "../../secret/sagittal_t2"))
    assert ReviewStudies(out).study(1).volumes == ()


def test_an_output_with_refused_studies_alone_opens_if_their_images_are_there(tmp_path: Path) -> None:
    refuse(tmp_path, "r")
    with pytest.raises(MissingInputError, match="-i nifti/"):
        ReviewStudies(tmp_path)
    convert(tmp_path, "r", "sagittal_t2.nii.gz")
    assert len(ReviewStudies(tmp_path)) == 1


@pytest.mark.slow
def test_a_refused_study_is_graded_by_placed_levels_and_refused_again_without_them(
    refused: Path, folders: list[Path], blind: Models
) -> None:
    before = {name: rows(refused / name) for name in TABLES}
    page_before = (refused / "s1" / "report.html").read_text()
    studies, writing = ReviewStudies(refused, [folders[0].parent]), Writing(refused)
    regrading = Regrading(studies, lambda: blind, writing)
    changes = Changes(studies, regrading, writing)
    regrading.start()
    places = points_of_spine()
    for version, name in enumerate(CANALS):
        request = {"what": "point", "finding": name, "after": list(places[name]), "version": version, "by": "AB"}
        changes.apply(0, request)
    wait(regrading)
    assert regrading.state(0).progress is Progress.IDLE
    assert not studies.study(0).result.refused
    found = {one["finding"]: one for one in json.loads((refused / "s1" / "findings.json").read_text())["findings"]}
    for name in CANALS:
        assert found[name]["point"] == pytest.approx(places[name], abs=1e-3)
        assert found[name]["flags"] == [MARKED]
    assert found["left_neural_foraminal_narrowing_l4_l5"]["point"] is not None  # it follows from the canal
    for name in TABLES:
        table = rows(refused / name)
        assert table[1:] == sorted(table[1:], key=lambda row: row[0]) or name != "predictions.csv"
        first = [row[0] for row in table[1:]]
        assert first == sorted(first), name
        assert [row for row in table if "s2" in row[0]] == [row for row in before[name] if "s2" in row[0]]
    assert len(rows(refused / "findings.csv")) == 1 + 2 * 25
    (row,) = [one for one in csv.DictReader((refused / "studies.csv").open()) if one["study"] == "s1"]
    assert (row["status"], row["reason"]) == ("graded", "")
    # The kinds of pages that graded studies have.
    assert (refused / "s1" / "report.pdf").is_file()
    assert (refused / "s1" / "report.html").read_text() != page_before

    for version in range(5, 10):
        changes.apply(0, {"what": "undo", "version": version, "by": "AB"})
    wait(regrading)
    regrading.stop()
    assert studies.study(0).result.refused.startswith("no lumbar spine found")
    assert not (refused / "s1" / "findings.json").exists()
    assert not (refused / "s1" / "report.pdf").exists()
    for name in TABLES:
        drop = {"seconds", "peak_mb"}
        old, new = (list(csv.DictReader(_lines(table))) for table in (before[name], rows(refused / name)))
        assert [{k: v for k, v in one.items() if k not in drop} for one in new] == [
            {k: v for k, v in one.items() if k not in drop} for one in old
        ], name
    assert run_report(refused, _no_pages(), quiet=True).waiting == []


def _lines(table: list[list[str]]) -> list[str]:
    return [",".join(f'"{cell}"' for cell in row) for row in table]


def _no_pages() -> object:
    from monai_spine.report.output import PageOutput

    return PageOutput([])
