"""Two runs never write into one folder at a time, and a killed run never keeps the next one out."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_prep.check.run import check
from data_prep.collection.assembly import Run as TableRun
from data_prep.dicom.convert import convert
from data_prep.images.build import Run, build
from data_prep.images.folders import read_folders
from data_prep.images.split import Split
from data_prep.phantom.cohort import generate
from data_prep.study_table.datalist import build as study_table
from monai_spine.bundle.shipped import UNET_CLASSIFIER
from monai_spine.commands.main import app
from monai_spine.errors import OutputError
from monai_spine.experiments.cross_validation import Plan, cross_validate
from monai_spine.output_lock import LOCK, output_lock, release, take
from monai_spine.prediction.merged_parts import merge_parts, write_part
from monai_spine.prediction.part import Part
from monai_spine.report.output import HTML, PageOutput
from monai_spine.report.run import run_report
from tests.cohorts import write_cohort
from tests.data_prep import dicom_factory as factory
from tests.data_prep.tiny_phantom import tiny_images
from tests.monai_spine.images.pictures import write_pictures
from tests.monai_spine.tables.files import simulated, written

HOLD = """
import sys, time
from pathlib import Path
from monai_spine.output_lock import take
take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_run_says_who_holds_the_folder_and_since_when(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(OutputError, match=rf"is in use by process {holder.pid} on .* since 20\d\d-"):
        take(tmp_path / "out")


def test_the_lock_of_a_killed_run_does_not_keep_the_next_one_out(tmp_path: Path, holder: subprocess.Popen) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "out" / LOCK).exists()
    with output_lock(tmp_path / "out"):
        assert json.loads((tmp_path / "out" / LOCK).read_text())["process"] == os.getpid()
    assert not (tmp_path / "out" / LOCK).exists()


def test_a_lock_that_children_of_a_killed_run_still_hold_is_broken(tmp_path: Path) -> None:
    out = tmp_path / "out"
    forks = HOLD.replace('print("held"', 'import os; os.fork(); print("held"')
    process = subprocess.Popen([sys.executable, "-c", forks, str(out)], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
        time.sleep(0.1)
        with output_lock(out):
            assert json.loads((out / LOCK).read_text())["process"] == os.getpid()
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_a_lock_of_another_machine_is_never_broken(tmp_path: Path, holder: subprocess.Popen) -> None:
    path = tmp_path / "out" / LOCK
    path.write_text(json.dumps({"process": 2**22 + 1, "machine": f"not-{socket.gethostname()}", "since": 0}))
    with pytest.raises(OutputError, match="is in use by"):
        take(tmp_path / "out")


def test_a_process_may_take_its_own_lock_again(tmp_path: Path) -> None:
    with output_lock(tmp_path), output_lock(tmp_path / "."):
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()
    release(tmp_path)


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to the output folder"):
        take(tmp_path / "file" / "out")


def command(*words: object) -> Callable[[], object]:
    return lambda: CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False, standalone_mode=False)


def _labels(folder: Path) -> tuple[Path, list[Path]]:
    return written(folder, simulated(studies=12, models=2))


def _convert(folder: Path, out: Path) -> Callable[[], object]:
    factory.write(folder / "in", factory.series(4))
    return lambda: convert(folder / "in", out, quiet=True)


def _images(folder: Path, out: Path) -> Callable[[], object]:
    for n, record in enumerate(write_pictures(folder, 8)):
        target = folder / "in" / "ab"[n % 2] / f"{n}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(record["image"][0]).rename(target)
    return lambda: build(read_folders(folder / "in"), out, Run(Split(folds=2)))


def _merge(folder: Path, out: Path) -> Callable[[], object]:
    write_part(Part(1, 1), out, settings={}, inputs=[], studies=0, provenance="")
    return lambda: merge_parts(out)


def _report(folder: Path, out: Path) -> Callable[[], object]:
    (out / "s1").mkdir(parents=True)
    (out / "s1/findings.json").write_text("{}")
    return lambda: run_report(out, PageOutput([HTML]), quiet=True)


def _calibrate(folder: Path, out: Path) -> Callable[[], object]:
    solution, (submission, _) = _labels(folder)
    return command("calibrate", solution, submission, "-o", out, "--quiet")


def _ensemble(folder: Path, out: Path) -> Callable[[], object]:
    return command("ensemble", *_labels(folder)[1], "-o", out, "--quiet")


def _audit(folder: Path, out: Path) -> Callable[[], object]:
    solution, (submission, _) = _labels(folder)
    return command("audit", solution, submission, "-o", out, "--quiet")


def _cv(folder: Path, out: Path) -> Callable[[], object]:
    plan = Plan(UNET_CLASSIFIER, write_cohort(folder, studies=4), (), ())
    return lambda: cross_validate(plan, out, None, lambda _: None)


def _check(folder: Path, out: Path) -> Callable[[], object]:
    datalist = write_cohort(folder / "data", studies=2)
    return lambda: check(datalist, out, quiet=True)


def _study_table(folder: Path, out: Path) -> Callable[[], object]:
    write_cohort(folder, studies=1)
    volume = next(folder.rglob("sagittal_t2.nii.gz"))
    (folder / "own.csv").write_text(f"study,path\n1,{volume}\n")
    return lambda: study_table(folder / "own.csv", out, TableRun(2, 0, 1, None, False, True))


WRITERS = {
    "convert": _convert,
    "images": _images,
    "check": _check,
    "study-table": _study_table,
    "report": _report,
    "merge": _merge,
    "calibrate": _calibrate,
    "ensemble": _ensemble,
    "audit": _audit,
    "cv": _cv,
    "phantom": lambda folder, out: lambda: generate(out, 1, 0, quiet=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_command_writes_into_a_folder_that_another_process_holds(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    run = WRITERS[name](tmp_path / "given", out)
    held = tmp_path / ".out.partial" if name == "phantom" else out
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(held)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(OutputError, match=f"is in use by process {process.pid} on .* since "):
            run()
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
    finally:
        process.kill()
        process.wait()


def test_a_phantom_cohort_replaces_what_a_killed_run_has_left(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial"
    (left / "train_images" / "1").mkdir(parents=True)
    (left / "train.csv").write_text("half")
    with tiny_images():
        generate(tmp_path / "out", 1, 0, quiet=True)
    assert not left.exists()
    assert len(list((tmp_path / "out/train_images").iterdir())) == 1
    assert not (tmp_path / "out" / LOCK).exists()


def test_the_next_run_removes_pictures_that_a_killed_one_has_left(tmp_path: Path) -> None:
    run = _images(tmp_path / "given", tmp_path / "out")
    left = tmp_path / "out" / ".images.123.part"
    left.mkdir(parents=True)
    (left / "000000.png").write_bytes(b"the picture of a patient")
    run()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["datalist.json", "report.json"]
