"""What a run of ``predict`` leaves, and what the next one makes of it."""

import csv
import gc
import io
import json
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from nibabel.arrayproxy import ArrayProxy

from monai_spine.crops import study as crops
from monai_spine.crops.sampling import sample
from monai_spine.crops.study import StudyImages
from monai_spine.data import nifti_file
from monai_spine.data.volume import read_volume
from monai_spine.files import digest_of
from monai_spine.geometry import slice_normal
from monai_spine.grading.canal_opinion import CanalOpinion, opinion_path
from monai_spine.grading.evidence import SeenImages
from monai_spine.grading.grader import Grader, Grades
from monai_spine.levels.localizers import UPSIDE_DOWN, RecessLocator
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.points import NO_SPINE, SpinePoints
from monai_spine.measures.canal import canal_diameters
from monai_spine.prediction.inputs import Conversion, Inputs, find_inputs
from monai_spine.prediction.models import Models
from monai_spine.prediction.run import Summary, predict
from monai_spine.prediction.study_cost import StudyCost
from monai_spine.scoring.competition import uniform_rows
from monai_spine.spine import TARGETS, Level
from tests.cohorts import write_datalist
from tests.data_prep.tiny_phantom import write_cohort
from tests.monai_spine.levels.test_locate import SPINE, Oracle, axial, sagittal
from tests.monai_spine.prediction.parts import (
    inputs,
    models,
    oracle,
    points_of_spine,
    write_bundle,
    write_study,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "one")


@pytest.fixture(scope="module")
def grader(bundle: Path) -> Grader:
    return Grader.from_bundle(bundle)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "in" / "s1")


def findings(out: Path, study: str) -> dict[str, dict]:
    content = json.loads((out / study / "findings.json").read_text())
    return {one["finding"]: one for one in content["findings"]}


def studies(out: Path) -> dict[str, dict[str, str]]:
    with (out / "studies.csv").open(newline="") as table:
        return {row["study"]: row for row in csv.DictReader(table)}


def run(given: Inputs, out: Path, opened: Models, **options: object) -> Summary:
    return predict(given, out, opened, quiet=True, **options)


def knowing(given: Inputs) -> Oracle:
    kinds = ("sagittal_t1", "sagittal_t2")
    return Oracle().know(*(Path(file) for one in given.studies for kind in kinds for file in one.record[kind]))


def test_dicom_becomes_findings_with_the_slice_nearest_to_each_point(tmp_path: Path, grader: Grader) -> None:
    cohort = write_cohort(tmp_path / "cohort", studies=2)
    given = find_inputs([cohort / "train_images"], tmp_path / "out", Conversion("folder", quiet=True))
    levels = knowing(given)
    summary = run(given, tmp_path / "out", models(levels, grader))
    assert (len(summary.outcomes), int(summary.exit_code)) == (2, 0)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(table) == 50
    assert np.allclose(table[["normal_mild", "moderate", "severe"]].sum(axis=1), 1)
    for candidate in given.studies:
        found = findings(tmp_path / "out", candidate.study_id)
        assert list(found) == list(TARGETS)
        assert any(one["series_type"] == "axial_t2" for one in found.values())
        for one in found.values():
            if one["series"] is not None:
                # The nearest of the slices that the grader saw, which may be the neighbour of the nearest of all.
                volume = tmp_path / "out/volumes" / candidate.study_id / one["series"]
                assert abs(one["slice"] - nearest(volume, one["point"])) <= 1


def nearest(volume: Path, point: list[float]) -> int:
    """By the definition: the slice whose plane has the least distance to the point."""
    image = nib.load(volume)
    along = [
        abs((np.array(point) - image.affine[:3, 3] - k * image.affine[:3, 2]) @ slice_normal(image.affine))
        for k in range(image.shape[2])
    ]
    return int(np.argmin(along))


def test_no_patient_stands_in_any_output(tmp_path: Path, grader: Grader) -> None:
    cohort = write_cohort(tmp_path / "cohort")
    names = set()
    for file in sorted((cohort / "train_images").rglob("*.dcm")):
        header = pydicom.dcmread(file)
        header.PatientName, header.PatientID, header.PatientBirthDate = "Mustermann^Erika", "KH-4711-x", "19640812"
        header.SeriesDescription = f"{header.SeriesDescription} Mustermann"
        header.save_as(file)
        names |= {str(header.PatientName), header.PatientID, header.PatientBirthDate, "Mustermann"}
    given = find_inputs([cohort / "train_images"], tmp_path / "out", Conversion(quiet=True))
    levels = Oracle().know(
        *(Path(f) for c in given.studies for k in ("sagittal_t1", "sagittal_t2") for f in c.record[k])
    )
    summary = run(given, tmp_path / "out", models(levels, grader))
    assert [one.refused for one in summary.outcomes] == [""]
    written = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert {file.suffix for file in written} >= {".csv", ".json", ".nii", ".png", ".md"}
    for file in written:
        content = file.read_bytes()
        assert not [name for name in names if name.encode() in content or name in str(file)], file
        assert str(tmp_path).encode() not in content, file


class Killed(BaseException):
    """As a signal would."""


class Watched:
    """A grader that counts, and dies at a study."""

    def __init__(self, grader: Grader, dies_at: str = "") -> None:
        self.grader, self.dies_at = grader, dies_at
        self.seen: list[str] = []
        self.graded, self.opinion = grader.graded, grader.opinion
        self.name, self.trained_on, self.about, self.digest = "w", None, {}, grader.digest

    def __call__(self, record: dict) -> Grades:
        if record["study_id"] == self.dies_at:
            raise Killed
        self.seen.append(record["study_id"])
        return self.grader(record)

    def seen_images(self, record: dict) -> SeenImages:
        return self.grader.seen_images(record)


def snapshot(out: Path) -> dict[str, bytes]:
    files = [file for file in out.rglob("*") if file.is_file() and file.name != "log.txt"]  # which holds times
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped_and_ends_as_an_unbroken_one(
    tmp_path: Path, grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_spine.prediction.study_task.measured", lambda work: (work(), StudyCost(1.0, 2, "here")))
    folders = [write_study(tmp_path / "in" / name) for name in ("a", "b", "c")]
    given, levels = inputs(*folders), oracle(*folders)
    dying = Watched(grader, dies_at="b")
    with pytest.raises(Killed):
        run(given, tmp_path / "out", models(levels, dying))
    assert dying.seen == ["a"]
    again = Watched(grader)
    summary = run(given, tmp_path / "out", models(levels, again))
    assert again.seen == ["b", "c"]
    assert summary.kept == 1
    whole = Watched(grader)
    run(given, tmp_path / "whole", models(levels, whole))
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def other_weights(study: Path, grader: Grader, tmp_path: Path) -> Grader:
    return Grader.from_bundle(write_bundle(tmp_path / "other", seed=3))


def touched_volume(study: Path, grader: Grader, tmp_path: Path) -> Grader:
    image = nib.load(study / "axial_t2.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * 2, image.affine), study / "axial_t2.nii.gz")
    return grader


def lost_findings(study: Path, grader: Grader, tmp_path: Path) -> Grader:
    (tmp_path / "out" / study.name / "findings.json").unlink()
    return grader


def cut_outcome(study: Path, grader: Grader, tmp_path: Path) -> Grader:
    path = tmp_path / "out" / study.name / "outcome.json"
    path.write_text(path.read_text()[:-40])
    return grader


def nothing(study: Path, grader: Grader, tmp_path: Path) -> Grader:
    return grader


@pytest.mark.parametrize(
    ("change", "force", "again"),
    [
        (nothing, False, False),
        (nothing, True, True),
        (other_weights, False, True),
        (touched_volume, False, True),
        (lost_findings, False, True),
        (cut_outcome, False, True),
    ],
)
def test_a_finished_study_is_done_again_if_anything_that_it_rests_on_has_changed(  # noqa: PLR0917 - fixtures
    tmp_path: Path, study: Path, grader: Grader, change: Callable[..., Grader], force: bool, again: bool
) -> None:
    levels = oracle(study)
    run(inputs(study), tmp_path / "out", models(levels, grader))
    watched = Watched(change(study, grader, tmp_path))
    run(inputs(study), tmp_path / "out", models(levels, watched), force=force)
    assert watched.seen == ["s1"] * again


def test_what_no_slice_shows_is_flagged_and_told(tmp_path: Path, study: Path, grader: Grader) -> None:
    summary = run(inputs(study), tmp_path / "out", models(oracle(study), grader))
    found = findings(tmp_path / "out", "s1")
    lacking = {name for name, one in found.items() if "not_covered" in one["flags"]}
    assert lacking == {
        f"{side}_subarticular_stenosis_{level.value}" for side in ("left", "right") for level in list(Level)[:3]
    }
    high = found["left_subarticular_stenosis_l1_l2"]
    assert high["coverage"] == "no axial plane within 5 mm of L1/L2"
    assert (high["point"], high["series"], high["slice"]) == (None, None, None)
    low = found["left_subarticular_stenosis_l5_s1"]
    assert (low["series"], low["distance_mm"]) == ("axial_t2.nii.gz", pytest.approx(0, abs=0.01))
    assert "projected" in low["flags"]
    assert summary.outcomes[0].not_covered == int(studies(tmp_path / "out")["s1"]["not_covered"]) == 6


def test_a_substitute_and_a_missing_series_are_flagged(tmp_path: Path, grader: Grader) -> None:
    folder = write_study(tmp_path / "in" / "s1", t1=False, ax=False)
    run(inputs(folder), tmp_path / "out", models(oracle(folder), grader))
    found = findings(tmp_path / "out", "s1")
    foramen = found["right_neural_foraminal_narrowing_l3_l4"]
    assert foramen["series_type"] == "sagittal_t2"
    assert set(foramen["flags"]) == {"substitute_series", "missing_sagittal_t1", "missing_axial_t2"}
    assert foramen["coverage"].startswith("no Sagittal T1; Sagittal T2/STIR, plane ")
    recess = found["right_subarticular_stenosis_l3_l4"]
    assert recess["coverage"] == "L3/L4: no axial series"
    assert "not_covered" in recess["flags"]


def test_a_study_that_cannot_be_graded_is_refused_and_the_others_go_on(tmp_path: Path, grader: Grader) -> None:
    good = write_study(tmp_path / "in" / "good")
    lone = tmp_path / "in" / "lone"
    axial(lone / "axial_t2.nii.gz", SPINE.mean(axis=0))
    head = tmp_path / "in" / "head"
    sagittal(head / "sagittal_t2.nii.gz", slices=13)

    class Headless(Oracle):
        def maps(self, image: object) -> np.ndarray:
            maps = super().maps(image)
            return maps * (len(image) != 13)

    levels = Headless().know(good / "sagittal_t2.nii.gz", head / "sagittal_t2.nii.gz")
    summary = run(inputs(good, lone, head), tmp_path / "out", models(levels, grader))
    assert int(summary.exit_code) == 3
    rows = studies(tmp_path / "out")
    assert {name: row["status"] for name, row in rows.items()} == {
        "good": "graded",
        "lone": "refused",
        "head": "refused",
    }
    assert rows["head"]["reason"] == "no lumbar spine found"
    assert "expected a sagittal T1 or T2 series" in rows["lone"]["reason"]
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")["row_id"]
    assert {row.partition("_")[0] for row in rows} == {"good"}
    assert not (tmp_path / "out/head/findings.json").exists()


def test_refused_studies_get_the_prior_only_if_asked(tmp_path: Path, grader: Grader) -> None:
    lone = tmp_path / "in" / "lone"
    axial(lone / "axial_t2.nii.gz", SPINE.mean(axis=0))
    fill = np.broadcast_to(uniform_rows(), (25, 3))
    summary = run(inputs(lone), tmp_path / "out", models(Oracle(), grader), fill=fill)
    assert int(summary.exit_code) == 3
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 25
    assert (studies(tmp_path / "out")["lone"]["status"], studies(tmp_path / "out")["lone"]["filled"]) == (
        "refused",
        "prior",
    )
    run(inputs(lone), tmp_path / "out", models(Oracle(), grader))
    assert (tmp_path / "out" / "predictions.csv").read_text() == "row_id,normal_mild,moderate,severe\n"


def test_a_study_that_is_refused_now_keeps_no_findings_of_an_earlier_run(
    tmp_path: Path, study: Path, grader: Grader
) -> None:
    run(inputs(study), tmp_path / "out", models(oracle(study), grader))
    for file in study.glob("sagittal*"):
        file.unlink()
    run(inputs(study), tmp_path / "out", models(Oracle(), grader))
    assert {file.name for file in (tmp_path / "out/s1").iterdir()} == {"outcome.json"}
    assert (tmp_path / "out" / "points.csv").read_text().count("\n") == 1


@pytest.mark.parametrize("damage", ["nan", "cut short", "one value"])
def test_a_damaged_volume_is_left_out_told_and_the_study_graded_by_the_others(
    tmp_path: Path, study: Path, grader: Grader, damage: str
) -> None:
    levels = oracle(study)
    path = study / "axial_t2.nii.gz"
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[3, 3, 3] = np.nan
    nib.save(nib.Nifti1Image(voxels if damage == "nan" else voxels * 0 + 1, image.affine), path)
    if damage == "one value":
        nib.save(nib.Nifti1Image(np.ones(image.shape, np.int16), image.affine), path)
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-2000])
    summary = run(inputs(study), tmp_path / "out", models(levels, grader))
    assert int(summary.exit_code) == 3
    row = studies(tmp_path / "out")["s1"]
    assert (row["status"], row["not_covered"]) == ("graded", "10")
    assert row["bad_volumes"].startswith("axial_t2.nii.gz: ")
    assert str(tmp_path) not in row["bad_volumes"]
    rows = json.loads((tmp_path / "out/s1/findings.json").read_text())["volumes"]
    assert rows["axial_t2.nii.gz"].startswith("left out: ")
    assert "1 volume could not be used" in summary.line()


def test_given_points_are_used_only_if_asked(tmp_path: Path, study: Path, grader: Grader) -> None:
    series = {kind: [f"in/s1/{kind}.nii.gz"] for kind in ("sagittal_t1", "sagittal_t2", "axial_t2")}
    points = {name: list(place) for name, place in points_of_spine().items()}
    datalist = write_datalist(tmp_path / "datalist.json", [{"study_id": "s1", "fold": 0, **series, "points": points}])
    given = find_inputs([datalist], tmp_path / "out", Conversion())
    run(given, tmp_path / "out", models(Oracle(), grader), given_points=True)
    found = findings(tmp_path / "out", "s1")
    assert all(one["point"] == pytest.approx(points[name], abs=1e-3) for name, one in found.items())
    assert not (tmp_path / "out/s1/points.json").exists()
    levels = oracle(study)
    levels.canal = SPINE + np.array([0, 0, 3.0])
    run(given, tmp_path / "out", models(levels, grader))
    canal = findings(tmp_path / "out", "s1")["spinal_canal_stenosis_l3_l4"]["point"]
    assert np.array(canal) - points["spinal_canal_stenosis_l3_l4"] == pytest.approx([0, 0, 3.0], abs=0.7)


@pytest.mark.parametrize("given_points", [False, True])
def test_the_canals_diameter_has_a_share_in_its_grades(
    tmp_path: Path, study: Path, bundle: Path, given_points: bool
) -> None:
    own = shutil.copytree(bundle, tmp_path / "own")
    weights = own / "models/model.pt"
    opinion = CanalOpinion(0.4, np.array([12.0, 20.0]), np.array([-1.1, -1.9]), digest_of([weights]), "levels")
    opinion.write(opinion_path(weights))
    series = {kind: [f"in/s1/{kind}.nii.gz"] for kind in ("sagittal_t1", "sagittal_t2", "axial_t2")}
    points = {name: list(place) for name, place in points_of_spine().items()}
    datalist = write_datalist(tmp_path / "datalist.json", [{"study_id": "s1", "fold": 0, **series, "points": points}])
    given = find_inputs([datalist], tmp_path / "out", Conversion())
    levels = oracle(study)
    opened = models(levels, Grader.from_bundle(own))
    run(given, tmp_path / "other", opened, given_points=given_points)
    images_alone = findings(tmp_path / "other", "s1")
    run(given, tmp_path / "out", replace(opened, level_weights="levels"), given_points=given_points)
    found = findings(tmp_path / "out", "s1")
    maps = levels.regions(*sagittal_grid(read_volume(study / "sagittal_t2.nii.gz"), "x"))
    for name, finding in found.items():
        assert images_alone[name]["diameter_mm"] is images_alone[name]["natural_of_images"] is None
        if not name.startswith("spinal"):
            assert finding == images_alone[name]
            continue
        assert 4 < finding["diameter_mm"] < 9
        assert finding["natural_of_images"] == images_alone[name]["natural"]
        assert finding["natural"] != images_alone[name]["natural"]
    canal = {level: np.array(found[f"spinal_canal_stenosis_{level.value}"]["point"]) for level in Level}
    measured = {level.value: round(mm, 1) for level, mm in canal_diameters(maps, canal).items()}
    written = {name[-5:]: one["diameter_mm"] for name, one in found.items() if name.startswith("spinal")}
    assert written == pytest.approx(measured, abs=0.11)


@pytest.mark.parametrize("reason", [NO_SPINE, UPSIDE_DOWN])
def test_what_is_graded_on_a_volume_without_a_spine_is_flagged_and_the_canal_not_measured_there(
    tmp_path: Path, study: Path, bundle: Path, reason: str
) -> None:
    class OneSpine(Oracle):
        def study_points(self, images: dict) -> dict:
            found = super().study_points(images)
            return found | {"sagittal_t2.nii.gz": SpinePoints(None, (), (), reason)}

    own = shutil.copytree(bundle, tmp_path / "own")
    weights = own / "models/model.pt"
    opinion = CanalOpinion(0.4, np.array([12.0, 20.0]), np.array([-1.1, -1.9]), digest_of([weights]), "levels")
    opinion.write(opinion_path(weights))
    levels = OneSpine().know(*study.glob("sagittal*"))
    opened = replace(models(levels, Grader.from_bundle(own)), level_weights="levels")
    run(inputs(study), tmp_path / "out", opened)
    for finding in findings(tmp_path / "out", "s1").values():
        assert ("without_spine" in finding["flags"]) == (finding["series"] == "sagittal_t2.nii.gz")
        assert finding["diameter_mm"] is None
    assert "without_spine" in studies(tmp_path / "out")["s1"]["flags"]


def test_every_output_says_what_the_weights_were_trained_on(tmp_path: Path, study: Path, grader: Grader) -> None:
    run(inputs(study), tmp_path / "out", models(oracle(study), grader))
    content = json.loads((tmp_path / "out/s1/findings.json").read_text())
    assert "trained on phantoms" in content["provenance"]
    assert content["models"][0]["trained_on"] == "phantom"
    assert "trained on phantoms" in (tmp_path / "out" / "README.md").read_text()
    assert studies(tmp_path / "out")["s1"]["trained_on"] == "one: phantom"


def test_points_of_studies_done_before_stand_in_the_table_again(tmp_path: Path, grader: Grader) -> None:
    folders = [write_study(tmp_path / "in" / name) for name in ("a", "b")]
    levels = oracle(*folders)
    run(inputs(*folders), tmp_path / "out", models(levels, grader))
    before = (tmp_path / "out" / "points.csv").read_bytes()
    run(inputs(*folders), tmp_path / "out", models(levels, grader))
    assert (tmp_path / "out" / "points.csv").read_bytes() == before
    assert {row.split(",")[0] for row in before.decode().splitlines()[1:]} == {"a", "b"}


def test_every_volume_is_read_once_whatever_needs_it_but_the_readers_of_monai(
    tmp_path: Path, study: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[bytes] = []
    from_disk: list[str] = []
    unpack, unscaled = nifti_file.unpack, ArrayProxy._get_unscaled

    def counted(path: Path, limit: int) -> bytes:
        unpacked.append(path.read_bytes())
        return unpack(path, limit)

    def counted_proxy(proxy: ArrayProxy, *args: object, **options: object) -> np.ndarray:
        if not isinstance(proxy.file_like, io.BytesIO):
            from_disk.append(str(proxy.file_like))
        return unscaled(proxy, *args, **options)

    axial(study / "axial_t2_1.nii.gz", SPINE[1], slices=4)
    # Not the U-Net: its configuration reads with MONAI's LoadImaged, which takes paths.
    graders = [Grader.from_bundle(one, tta=["flip"]) for one in (bundle, bundle)]
    opened = Models(oracle(study), RecessLocator(torch.nn.Conv3d(3, 2, 1)), graders)
    monkeypatch.setattr(nifti_file, "unpack", counted)
    monkeypatch.setattr(ArrayProxy, "_get_unscaled", counted_proxy)
    summary = run(inputs(study), tmp_path / "out", opened)
    assert [one.refused for one in summary.outcomes] == [""]
    # The sagittal T1 is a copy of the T2, so contents are compared as lists.
    assert sorted(unpacked) == sorted(file.read_bytes() for file in study.glob("*.nii.gz"))
    assert from_disk == []


@pytest.mark.slow
def test_models_with_equal_views_share_their_crops(
    tmp_path: Path, study: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for n, graders in enumerate(
        (
            [Grader.from_bundle(bundle)],
            [Grader.from_bundle(bundle), Grader.from_bundle(bundle)],
            [Grader.from_bundle(bundle, tta=["flip"]), Grader.from_bundle(bundle, tta=["flip"])],
        )
    ):
        cut = []
        monkeypatch.setattr(crops, "sample", lambda *args, cut=cut: cut.append(args) or sample(*args))
        run(inputs(study), tmp_path / str(n), models(oracle(study), *graders))
        counts.append(len(cut))
    assert counts == [counts[0], counts[0], 2 * counts[0]]
    assert counts[0] > 0


@pytest.mark.slow
def test_the_images_of_a_study_are_let_go_before_the_next(
    tmp_path: Path, grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[StudyImages]] = []

    def watched() -> StudyImages:
        gc.collect()
        assert all(one() is None for one in made)
        images = StudyImages()
        made.append(weakref.ref(images))
        return images

    folders = [write_study(tmp_path / "in" / name) for name in ("a", "b")]
    monkeypatch.setattr("monai_spine.prediction.study_grading.StudyImages", watched)
    run(inputs(*folders), tmp_path / "out", models(oracle(*folders), grader))
    assert len(made) == 2
