"""A NIfTI file, its sidecar or its folder is used, or it is a row with a reason, and the others go on."""

import csv
import gzip
import json
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_spine.crops.stack import open_stack
from monai_spine.data.studies import find_study, nifti_files
from monai_spine.data.volume import read_slice, read_volume
from monai_spine.errors import ExitCode, SpineError
from monai_spine.grading.grader import Grader
from monai_spine.levels.locate import locate
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.maps import LANDMARKS, REGIONS, map_size
from monai_spine.prediction.inputs import Conversion, find_inputs
from monai_spine.prediction.run import predict
from tests.adversarial import hostile
from tests.cohorts import write_datalist
from tests.monai_spine.levels.test_locate import SPINE, Oracle, axial, sagittal
from tests.monai_spine.levels.test_locate import rows as volume_rows
from tests.monai_spine.prediction.parts import models, oracle, write_study


def small() -> bytes:
    """A sagittal volume, unpacked."""
    affine = np.array([[0, 0, -4.4, 30], [-4, 0, 0, 60], [0, -4, 0, 60], [0, 0, 0, 1.0]])
    voxels = np.random.default_rng(0).integers(0, 900, (20, 24, 9)).astype(np.int16)
    image = nib.Nifti1Image(voxels, affine)
    image.set_qform(affine, 1)
    return image.to_bytes()


@pytest.mark.parametrize("name", hostile.NIFTI)
def test_every_reader_of_a_hostile_volume_reads_it_or_refuses_it_in_one_line(tmp_path: Path, name: str) -> None:
    path = hostile.write_nifti(tmp_path / "s", name, small())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_volume, open_stack, lambda path: read_slice(path, 0), _on_the_grid):
            try:
                read(path)
            except SpineError as error:
                assert "\n" not in str(error)
        found = find_study("s", nifti_files(tmp_path / "s"))
    for reason in found.left_out.values():
        assert "unexpected" not in reason
        assert str(tmp_path) not in reason


def _on_the_grid(path: Path) -> None:
    sagittal_grid(read_volume(path), path.name)


def _rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as table:
        return {row["study"]: row for row in csv.DictReader(table)}


def test_a_batch_with_hostile_studies_grades_the_good_one_and_has_a_row_for_each(tmp_path: Path) -> None:
    good = write_study(tmp_path / "in" / "good")
    for name in hostile.NIFTI:
        hostile.write_nifti(tmp_path / "in" / name, name, small())
    out = tmp_path / "out"
    given = find_inputs([tmp_path / "in"], out, Conversion(quiet=True))
    summary = predict(given, out, models(oracle(good), _uniform()), quiet=True)
    rows = _rows(out / "studies.csv")
    assert set(rows) == {"good", *hostile.NIFTI}
    assert summary.exit_code is ExitCode.SOME_REFUSED
    assert rows["good"]["status"] == "graded"
    assert all(row["status"] == "graded" or row["reason"] for row in rows.values())
    assert not [row["reason"] for row in rows.values() if str(tmp_path) in row["reason"]]


def test_locate_has_a_row_with_a_reason_for_each_hostile_study_and_for_one_without_a_sagittal_volume(
    tmp_path: Path,
) -> None:
    for name in hostile.NIFTI:
        hostile.write_nifti(tmp_path / "in" / name, name, small())
    good = sagittal(tmp_path / "in/good/sagittal_t2.nii.gz")
    axial(tmp_path / "in/axial_alone/axial_t2.nii.gz", SPINE.mean(axis=0))
    locate([tmp_path / "in"], tmp_path / "out", NoSpine().know(good), quiet=True)
    statuses = {row["study"]: row["status"] for row in volume_rows(tmp_path / "out", "volumes.csv")}
    assert set(statuses) == {"good", "axial_alone", *hostile.NIFTI}
    assert statuses.pop("good") == "found"
    assert all(status and status != "found" for status in statuses.values())
    assert statuses["axial_alone"].startswith("axial, and the study has no sagittal volume")


class NoSpine(Oracle):
    """Sees a spine in the volumes that it knows, and none in others."""

    def maps(self, image: torch.Tensor) -> np.ndarray:
        known = tuple(image.shape) in self.grids
        return super().maps(image) if known else np.zeros((len(LANDMARKS) + len(REGIONS), *map_size(image.shape)))


@pytest.mark.parametrize("name", hostile.FOLDERS)
def test_a_good_study_in_a_folder_of_any_name_is_graded(tmp_path: Path, name: str) -> None:
    study = write_study(tmp_path / "good", t1=False, ax=False)
    folder = hostile.good_folder(tmp_path / "in", name)
    folder.mkdir(parents=True)
    (folder / "sagittal_t2.nii.gz").write_bytes((study / "sagittal_t2.nii.gz").read_bytes())
    given = find_inputs([tmp_path / "in"], tmp_path / "out", Conversion(quiet=True))

    grader = _uniform()
    predict(given, tmp_path / "out", models(oracle(study), grader), quiet=True)
    (row,) = _rows(tmp_path / "out/studies.csv").values()
    assert row["status"] == "graded", row["reason"]
    (findings,) = (tmp_path / "out").glob("*/findings.json")
    assert json.loads(findings.read_text(encoding="utf-8"))["findings"]
    with (tmp_path / "out/predictions.csv").open(newline="", encoding="utf-8") as table:
        assert len(list(csv.DictReader(table))) == 25


def _uniform() -> Grader:
    """A grader that needs no network: a third for each grade."""
    from monai_spine.grading.evidence import SeenImages
    from monai_spine.grading.grader import Grades
    from monai_spine.scoring.competition import uniform_rows

    class Uniform:
        name, trained_on, about, digest = "uniform", None, {}, ""
        graded, opinion = np.ones(25, dtype=bool), None

        def __call__(self, record: dict) -> Grades:
            rows = np.broadcast_to(uniform_rows(), (25, 3))
            return Grades(rows, rows)

        def seen_images(self, record: dict) -> SeenImages:
            return SeenImages()

    return Uniform()  # type: ignore[return-value]


def test_entries_of_a_datalist_that_break_the_format_are_rows_and_the_others_are_graded(tmp_path: Path) -> None:
    study = write_study(tmp_path / "good", t1=False, ax=False)
    good = {"study_id": "good", "sagittal_t2": ["good/sagittal_t2.nii.gz"]}
    broken = [
        {"study_id": "gone", "sagittal_t2": ["gone.nii.gz"]},
        {"study_id": "half", "sagittal_t2": ["good/sagittal_t2.nii.gz", "gone.nii.gz"]},
        {"study_id": "text", "sagittal_t2": "good/sagittal_t2.nii.gz"},
        {"study_id": "points", "sagittal_t2": [], "points": {"nonsense": [1, 2, 3]}},
        {"study_id": 7},
        "no object",
    ]
    datalist = write_datalist(tmp_path / "datalist.json", [], test=[good, *broken])
    given = find_inputs([datalist], tmp_path / "out", Conversion(quiet=True))
    predict(given, tmp_path / "out", models(oracle(study), _uniform()), quiet=True)
    rows = _rows(tmp_path / "out/studies.csv")
    graded = {name for name, row in rows.items() if row["status"] == "graded"}
    assert graded == {"good", "half"}
    assert set(rows) == {"good", "half", "gone", "text", "points", "entry 5", "entry 6"}
    assert rows["half"]["bad_volumes"] == "gone.nii.gz: there is no such file"


@pytest.mark.parametrize("error", [ValueError("a\nb"), KeyError("x"), RecursionError(), AssertionError(), TypeError()])
def test_a_study_that_fails_in_an_unforeseen_way_is_a_row_and_the_run_goes_on(tmp_path: Path, error: Exception) -> None:
    studies = [write_study(tmp_path / "in" / name, t1=False, ax=False) for name in ("a", "b")]
    given = find_inputs([tmp_path / "in"], tmp_path / "out", Conversion(quiet=True))
    grader = _uniform()
    fails = [error]

    class Failing(type(grader)):  # type: ignore[misc]
        def __call__(self, record: dict) -> object:
            if record["study_id"] == "a" and fails:
                raise fails.pop() from None
            return super().__call__(record)

    predict(given, tmp_path / "out", models(oracle(*studies), Failing()), quiet=True)
    rows = _rows(tmp_path / "out/studies.csv")
    assert rows["b"]["status"] == "graded"
    assert rows["a"]["reason"].startswith(f"unexpected {type(error).__name__} in test_hostile_volumes.py:")
    assert "\n" not in rows["a"]["reason"]
    # The points that were found before the grader failed are kept.
    assert (tmp_path / "out/a/points.json").is_file()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_an_error_of_the_machine_ends_the_run(tmp_path: Path, error: Exception) -> None:
    study = write_study(tmp_path / "in" / "a", t1=False, ax=False)
    given = find_inputs([tmp_path / "in"], tmp_path / "out", Conversion(quiet=True))

    class Failing(type(_uniform())):  # type: ignore[misc]
        def __call__(self, record: dict) -> object:
            raise error

    with pytest.raises(type(error)):
        predict(given, tmp_path / "out", models(oracle(study), Failing()), quiet=True)
    assert not (tmp_path / "out/a/outcome.json").exists()


def test_half_written_files_of_a_killed_run_are_removed_by_the_next_one(tmp_path: Path) -> None:
    study = write_study(tmp_path / "in" / "a", t1=False, ax=False)
    partial = tmp_path / "out/a/.outcome.json.17.partial"
    partial.parent.mkdir(parents=True)
    partial.write_text("half")
    given = find_inputs([tmp_path / "in"], tmp_path / "out", Conversion(quiet=True))
    predict(given, tmp_path / "out", models(oracle(study), _uniform()), quiet=True)
    assert not partial.exists()


def test_packed_volumes_of_several_members_are_read(tmp_path: Path) -> None:
    raw = small()
    parts = gzip.compress(raw[:999]) + gzip.compress(raw[999:]) + bytes(50)
    (tmp_path / "a.nii.gz").write_bytes(parts)
    (tmp_path / "b.nii").write_bytes(raw)
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").voxels, read_volume(tmp_path / "b.nii").voxels)
