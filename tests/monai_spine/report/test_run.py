"""Pages of studies with images: while ``predict`` grades, and from its output folder."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from monai_spine.crops.pose import crop_grid
from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.grading.grader import Grader
from monai_spine.prediction.run import predict
from monai_spine.prediction.study_output import GradedStudy
from monai_spine.report import run as report_run
from monai_spine.report.crop_pictures import AROUND_POINTS, NOT_THE_MODEL, crop_pictures
from monai_spine.report.output import HTML, PDF, PageOutput
from monai_spine.report.pdf_page import study_pdf
from monai_spine.report.run import run_report
from monai_spine.report.study_page import NO_VOLUMES, StudyPage, study_page
from monai_spine.report.study_result import result_of
from monai_spine.spine import Condition, Level
from tests.monai_spine.levels.test_locate import SPINE, Oracle
from tests.monai_spine.prediction.parts import (
    inputs,
    models,
    oracle,
    points_of_spine,
    record_of,
    write_bundle,
    write_study,
)
from tests.monai_spine.report.results import HOSTILE, Page, content

PAGES = PageOutput([HTML, PDF])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "one")


@pytest.fixture(scope="module")
def grader(bundle: Path) -> Grader:
    return Grader.from_bundle(bundle)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("in") / "s1")


def graded(folder: Path, *graders: Grader) -> GradedStudy:
    """The study with its true points; its grades are made up."""
    points = points_of_spine()
    found = content(("spinal_canal_stenosis_l3_l4",))
    for one in found["findings"]:
        one["point"] = list(points[one["finding"]])
    return GradedStudy(folder, found, record_of(folder, points), graders)


def test_the_crops_of_a_page_are_those_that_the_grader_was_given(folder: Path, grader: Grader) -> None:
    study = graded(folder, grader)
    pictures = crop_pictures(study, result_of(study.content, "s1"))
    image = grader.image(study.record)
    for n, level in enumerate(Level):
        tiles = {(tile.view, tile.plane): tile for view in pictures.levels[level].views for tile in view}
        k = 0
        for view in grader.stacked_views:
            for plane in range(view.slices):
                tile = tiles.get((view.name, plane))
                if tile is None or tile.pixels is None:
                    assert (image[n, k] == -1).all()
                else:
                    assert np.abs(tile.pixels / 255 - image[n, k]).max() <= 1 / 255
                k += 1
    assert pictures.grader == grader.name


def test_marks_lie_at_the_points(folder: Path, grader: Grader) -> None:
    study = graded(folder, grader)
    result = result_of(study.content, "s1")
    pictures = crop_pictures(study, result)
    crops = grader.seen_images(study.record).crops[0]
    checked = 0
    for one in result.findings:
        tile = pictures.levels[one.finding.level].key(one)
        if tile is None:
            continue
        view = next(view for view in crops.views if view.name == tile.view)
        grid = crop_grid(view, crops.frames[one.finding.level])
        (mark,) = [mark for mark in tile.marks if mark.condition is one.finding.condition]
        columns, rows = grid.shape[2], grid.shape[1]
        place = grid.affine @ [mark.x * columns - 0.5, mark.y * rows - 0.5, tile.plane, 1]
        off = place[:3] - np.array(one.point)
        assert np.abs(off @ grid.directions[:, :2]).max() < 1e-6
        assert abs(off @ grid.directions[:, 2]) <= view.gap_mm / 2 + 1e-6 or tile.plane in (0, view.slices - 1)
        checked += 1
    assert checked >= 15


def test_attention_and_maps_belong_to_slices_that_are_there(folder: Path, grader: Grader) -> None:
    study = graded(folder, grader)
    pictures = crop_pictures(study, result_of(study.content, "s1"))
    for level in Level:
        for view in pictures.levels[level].views:
            weights = [tile.attention[Condition.SPINAL_CANAL_STENOSIS] for tile in view if tile.attention]
            assert sum(weights) == pytest.approx(1, abs=1e-5)
            assert all((tile.attention is None) == (tile.pixels is None) for tile in view)


def test_a_grader_of_volumes_gets_pictures_around_the_points_that_say_so(folder: Path, tmp_path: Path) -> None:
    unet = Grader.from_bundle(write_bundle(tmp_path / "unet", kind="lumbar_unet_classifier"))
    study = graded(folder, unet)
    pictures = crop_pictures(study, result_of(study.content, "s1"))
    assert (pictures.grader, pictures.caption) == ("", AROUND_POINTS)
    assert all(tile.attention is None for one in pictures.levels.values() for view in one.views for tile in view)
    assert any(tile.pixels is not None for one in pictures.levels.values() for view in one.views for tile in view)


def test_the_levels_are_drawn_where_they_are(folder: Path, grader: Grader) -> None:
    study = graded(folder, grader)
    spine = study_page(study).spine
    heights = [spine.levels[level][1] for level in Level]
    assert heights == sorted(heights)
    apart = np.diff([SPINE[n + 1][2] for n in range(5)])
    assert np.diff(heights) == pytest.approx(-2.5 * apart, abs=2.5)  # 2.5 pixels per mm
    assert all(0 <= x < spine.pixels.shape[1] and 0 <= y < spine.pixels.shape[0] for x, y in spine.levels.values())


@pytest.mark.slow
def test_predict_writes_pages_and_makes_one_that_is_missing_again(folder: Path, grader: Grader, tmp_path: Path) -> None:
    given, opened = inputs(folder), models(oracle(folder), grader)
    summary = predict(given, tmp_path, opened, quiet=True, outputs=[PAGES])
    assert (int(summary.exit_code), summary.kept) == (0, 0)
    page = Page((tmp_path / "s1" / "report.html").read_text())
    assert len(page.of("section")) == 8
    assert all(one["src"].startswith("data:image/") and "alt" in one for one in page.of("img"))
    assert sum("cam" in (one.get("class") or "") for one in page.of("img")) > 50
    assert (tmp_path / "s1" / "report.html").stat().st_size < 3e6
    assert (tmp_path / "s1" / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert "s1/report.html" in (tmp_path / "index.html").read_text()
    assert predict(given, tmp_path, opened, quiet=True, outputs=[PAGES]).kept == 1
    (tmp_path / "s1" / "report.html").unlink()
    assert predict(given, tmp_path, opened, quiet=True).kept == 1
    assert predict(given, tmp_path, opened, quiet=True, outputs=[PAGES]).kept == 0
    assert (tmp_path / "s1" / "report.html").is_file()


def test_a_refused_study_has_a_page_with_the_reason_and_no_old_pdf(grader: Grader, tmp_path: Path) -> None:
    study, out = write_study(tmp_path / "in" / "s1"), tmp_path / "out"
    for file in study.glob("sagittal*"):
        file.unlink()
    (out / "s1").mkdir(parents=True)
    (out / "s1" / "report.pdf").touch()
    summary = predict(inputs(study), out, models(Oracle(), grader), quiet=True, outputs=[PAGES])
    assert int(summary.exit_code) == 3
    for page in (out / "s1" / "report.html", out / "index.html"):
        assert "expected a sagittal T1 or T2 series" in Page(page.read_text()).text
    assert not (out / "s1" / "report.pdf").exists()


@pytest.mark.slow
def test_pages_from_the_output_folder(
    folder: Path, bundle: Path, grader: Grader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(inputs(folder), tmp_path, models(oracle(folder), grader), quiet=True)
    monkeypatch.setattr(report_run, "usable_device", lambda _: "cpu")
    summary = run_report(tmp_path, PageOutput([HTML]), bundles=[bundle], quiet=True)
    assert (summary.written, summary.without_volumes) == (["s1"], ["s1"])
    assert NO_VOLUMES in Page((tmp_path / "s1" / "report.html").read_text()).text
    # Of another grader than the one that graded: pictures, and no word of where that one looked.
    summary = run_report(
        tmp_path,
        PageOutput([HTML]),
        inputs=[folder],
        bundles=[write_bundle(tmp_path / "b", seed=7)],
        force=True,
        quiet=True,
    )
    text = (tmp_path / "s1" / "report.html").read_text()
    assert NOT_THE_MODEL in Page(text).text
    assert "look-off" not in text
    run_report(tmp_path, PageOutput([HTML]), inputs=[folder], bundles=[bundle], force=True, quiet=True)
    assert "look-off" in (tmp_path / "s1" / "report.html").read_text()
    assert run_report(tmp_path, PageOutput([HTML]), bundles=[bundle], quiet=True).kept == 1
    findings = tmp_path / "s1" / "findings.json"
    os.utime(findings, ns=(findings.stat().st_atime_ns, findings.stat().st_mtime_ns + 10**12))
    assert run_report(tmp_path, PageOutput([HTML]), bundles=[bundle], quiet=True).kept == 0


class Broken:
    """A writer that fails in a way that nobody foresaw, with a name in its message."""

    name = "broken"
    explains = False

    def complete(self, folder: Path, *, refused: bool) -> bool:
        return False

    def write(self, study: GradedStudy, page: StudyPage) -> None:
        raise ValueError("Mustermann^Erika is no name")

    def refuse(self, study: object) -> None:
        pass

    def remove(self, folder: Path) -> None:
        pass


def test_a_writer_that_fails_stops_no_other_and_names_nobody(tmp_path: Path) -> None:
    study = GradedStudy(tmp_path / "s1", content(), {})
    failed = PageOutput([Broken(), HTML]).write(study)
    assert failed == {"broken": "an error that was not foreseen (ValueError); please report it"}
    assert (tmp_path / "s1" / "report.html").is_file()


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "gone"):
        with pytest.raises(MissingInputError, match="expected results of"):
            run_report(out, PageOutput([HTML]))


def test_weights_without_a_grader_of_their_own_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "findings.json").write_text(json.dumps(content(study="a")))
    with pytest.raises(InvalidOptionError, match="--weights once for each of 1 --model, but found it 2 times"):
        run_report(tmp_path, PageOutput([HTML]), weights=[tmp_path / "1.pt", tmp_path / "2.pt"], quiet=True)


def test_one_broken_folder_does_not_end_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_run, "open_graders", lambda *_, **__: [])
    for name, text in (("a", json.dumps(content(study="a"))), ("b", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "findings.json").write_text(text)
    summary = run_report(tmp_path, PageOutput([HTML]), quiet=True)
    assert (summary.written, len(summary.unread), int(summary.exit_code)) == (["a"], 1, 3)
    index = Page((tmp_path / "index.html").read_text()).text
    assert "b/findings.json" in index
    assert str(tmp_path) not in index


def test_markup_in_names_does_not_stop_the_pdf_and_equal_pages_give_equal_bytes() -> None:
    found = content(study=HOSTILE)
    found["provenance"] = f"{HOSTILE} <para> &amp <b>"
    found["volumes"] = {HOSTILE: "left out: <font>"}
    page = StudyPage(result_of(found, "x"))
    assert study_pdf(page) == study_pdf(page)
    assert study_pdf(page).startswith(b"%PDF-")


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext: apt-get install poppler-utils")
def test_the_pdf_has_measures_and_the_grades_of_readers(tmp_path: Path) -> None:
    found = content()
    entry = {"value": 8.24, "uncertainty": 1.1, "percentile": 3}
    levels = {"l4_l5": {"canal_diameter_mm": entry}}
    found["measures"] = {"volume": "t2.nii.gz", "reference": "phantoms", "levels": levels, "whole": {}}
    found["findings"][0]["reader"] = {"grade": "severe", "by": "AB", "at": "2026-11-28T13:40:12Z"}
    (tmp_path / "report.pdf").write_bytes(study_pdf(StudyPage(result_of(found, "x"))))
    command = ["pdftotext", "-layout", tmp_path / "report.pdf", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    words = " ".join(done.stdout.split())
    assert "8.2 ± 1.1 mm" in words
    assert "percentile 3" in words
    assert words.count("✎ AB: severe") == 2
    assert "AB graded 1 finding" in words
