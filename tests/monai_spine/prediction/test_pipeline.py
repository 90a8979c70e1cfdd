"""DICOM studies are converted while others are graded, and nothing else changes by that."""

import csv
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from distributed import LocalCluster

from data_prep.process_pool import Pool
from monai_spine.bundle.shipped import GRADER
from monai_spine.errors import SpineError
from monai_spine.prediction.inputs import Conversion, Inputs, find_inputs
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.run import predict, run_predict
from monai_spine.prediction.study_processes import StudyProcesses
from monai_spine.prediction.study_task import StudyResult, StudyTask
from tests.data_prep.tiny_phantom import write_cohort
from tests.monai_spine.levels.test_locate import Oracle
from tests.monai_spine.prediction.parts import models, write_study

pytestmark = pytest.mark.usefixtures("default_runtime")
PROGRAM = "from monai_spine.commands.main import main; main()"
COST = {"seconds", "peak_mb"}
MADE_AT = {
    "InstanceCreationDate",
    "InstanceCreationTime",
    "ContentDate",
    "ContentTime",
    "DateOfSecondaryCapture",
    "TimeOfSecondaryCapture",
    "ContributionDateTime",
}
"""Elements of DICOM objects that say when they were made."""


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies, of which one lacks a slice, beside a file that is no image and a copy of an image."""
    folder = write_cohort(tmp_path_factory.mktemp("cohort"), studies=3) / "train_images"
    study, *_ = sorted(folder.iterdir())
    files = sorted(study.rglob("*.dcm"))
    (study / "copy.dcm").write_bytes(files[0].read_bytes())
    files[len(files) // 2].unlink()
    (folder / "damaged.dcm").write_bytes(files[0].read_bytes()[:300])
    (folder / "letter.txt").write_text("no image")
    return folder


@pytest.fixture
def later(dicom: Path, tmp_path: Path) -> Iterator[Inputs]:
    """The studies, of which only the headers were read."""
    with ExitStack() as stack:
        convert = Conversion("folder", quiet=True).later(tmp_path / "out", stack, map)
        yield find_inputs([dicom], tmp_path / "out", convert)


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


class Watching(Oracle):
    """Finds no spine. At each volume it notes what it sees; an error here would be a reason to refuse the study."""

    def __init__(self, see: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.see, self.seen = see, list[object]()

    def maps(self, image: torch.Tensor) -> np.ndarray:
        self.seen.append(self.see())
        raise SpineError("no spine")


def volumes(out: Path) -> set[str]:
    return {path.parent.name for path in (out / "volumes").glob("*/*.json")}


def test_the_next_studies_are_converted_while_one_is_graded(later: Inputs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert volumes(out) == set()

    def others() -> bool:
        """Whether another study is converted while this one is graded, and not all were before."""
        wait(lambda: len(volumes(out)) > 1)
        return not (out / "volumes/manifest.csv").exists()

    levels = Watching(others)
    with Pool(1, int, share=False) as reader:
        summary = predict(later, out, models(levels), reader=reader, quiet=True)
    assert levels.seen[0] is True
    assert {one.study_id for one in summary.outcomes} > volumes(out)  # of one, nothing is left
    assert (out / "volumes/manifest.csv").is_file()


def test_studies_that_are_converted_one_by_one_give_the_tables_of_a_whole_conversion(
    later: Inputs, dicom: Path, tmp_path: Path
) -> None:
    never = Watching()
    summary = predict(later, tmp_path / "out", models(never), quiet=True)
    whole = find_inputs([dicom], tmp_path / "whole", Conversion("folder", quiet=True))
    expected = predict(whole, tmp_path / "whole", models(never), quiet=True)
    assert summary.refused_files == expected.refused_files > 0
    assert tables(tmp_path / "out") == tables(tmp_path / "whole")
    assert summary.exit_code == expected.exit_code


def test_the_tables_of_a_run_that_goes_on_hold_what_is_done(later: Inputs, tmp_path: Path) -> None:
    out, studies = tmp_path / "out", [one.study_id for one in later.all]

    def listed() -> list[str]:
        try:
            with (out / "volumes/manifest.csv").open(newline="") as table:
                return sorted({row["study"] for row in csv.DictReader(table)})
        except FileNotFoundError:
            return []

    levels = Watching(listed)
    predict(later, out, models(levels), quiet=True)
    assert studies[:1] in levels.seen
    assert listed() == studies


def tables(out: Path) -> dict[str, object]:
    """The content of all files of a run but what differs between two runs: times, and paths of the folder."""
    content: dict[str, object] = {}
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if name == "studies.csv":
            with path.open(newline="") as table:
                content[name] = [
                    {key: cell for key, cell in row.items() if key not in COST} for row in csv.DictReader(table)
                ]
        elif path.suffix == ".dcm":
            document = pydicom.dcmread(path)
            document.walk(lambda within, element: within.pop(element.tag) if element.keyword in MADE_AT else None)
            content[name] = document
        elif path.is_file() and path.name not in {"log.txt", "outcome.json", ".lock"}:
            content[name] = path.read_bytes()
    return content


def command(*words: object) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "predict", *map(str, words)]


def run(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.slow
def test_damaged_weights_are_refused_before_the_first_conversion(dicom: Path, tmp_path: Path) -> None:
    shutil.copytree(GRADER / "models", tmp_path / "weights")
    weights = tmp_path / "weights/model.pt"
    weights.write_bytes(weights.read_bytes()[:-100])
    options = ("-i", dicom, "-o", tmp_path / "out", "--weights", weights.parent)
    said = [run(*options, "--workers", workers) for workers in (1, 2)]
    assert [one.returncode for one in said] == [2, 2]
    assert said[0].stderr == said[1].stderr
    assert said[0].stderr.startswith("error: ")
    assert said[0].stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_one_process_and_two_write_the_same_from_dicom_and_a_killed_run_ends_as_they_do(
    dicom: Path, tmp_path: Path
) -> None:
    options = ("-i", dicom, "--name-by", "folder", "--dicom-out", "--device", "cpu", "--no-refine")
    assert run(*options, "-o", tmp_path / "1").returncode == 3
    killed = subprocess.Popen(command(*options, "-o", tmp_path / "killed", "--workers", 2))
    wait(lambda: any((tmp_path / "killed").glob("*/outcome.json")))
    killed.kill()
    killed.wait()
    resumed = run(*options, "-o", tmp_path / "killed", "--workers", 2)
    assert resumed.returncode == 3, resumed.stderr
    assert "Warning" not in resumed.stderr
    assert tables(tmp_path / "killed") == tables(tmp_path / "1")


@pytest.mark.slow
def test_a_cluster_converts_and_grades_as_this_machine_does(dicom: Path, tmp_path: Path) -> None:
    options = ("--name-by", "folder", "--dicom-out", "--device", "cpu", "--no-refine")
    for name in ("here", "there"):
        shutil.copytree(dicom, tmp_path / name / "in")
    shutil.make_archive(str(tmp_path / "there/archive"), "zip", tmp_path / "there/in")
    here = run("-i", "in", "-o", "out", *options, folder=tmp_path / "here")
    cluster_options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(**cluster_options) as cluster:
        place = ("--cluster", cluster.scheduler_address)
        # Relative paths: the workers have another working directory.
        there = run("-i", "in", "-o", "out", *options, *place, folder=tmp_path / "there")
        packed = run("-i", "archive.zip", "-o", "packed", "--no-refine", *place, folder=tmp_path / "there")
    assert [here.returncode, there.returncode, packed.returncode] == [3, 3, 3], there.stderr + packed.stderr
    assert tables(tmp_path / "there/out") == tables(tmp_path / "here/out")
    assert (tmp_path / "there/packed/studies.csv").read_text().count(",graded,") == 3
    assert not list((tmp_path / "there").rglob(".*partial"))


def test_what_is_finished_stays_when_a_process_is_lost(tmp_path: Path) -> None:
    studies = [write_study(tmp_path / "in" / name, t1=False, ax=False) for name in ("a", "b")]

    class Losing(StudyProcesses):
        models_here = property(lambda self: self.models)

        def run(self, task: StudyTask, studies: Sequence[PendingStudy]) -> Iterator[StudyResult]:
            yield replace(task, models=lambda: models(Watching()))(studies[0])
            raise SpineError("a worker process was killed")

    place = Losing(lambda: models(Watching()), Pool(0, int))
    options = {"given_points": False, "points": None, "name_by": "uid", "prior_from": None, "force": False}
    with pytest.raises(SpineError, match="killed"):
        run_predict(
            [studies[0].parent],
            tmp_path / "out",
            processes=place,
            report=lambda line: None,
            workers=2,
            quiet=True,
            **options,
        )
    assert (tmp_path / "out/a/outcome.json").is_file()
    assert not (tmp_path / "out/.lock").exists()
