"""One study or image that fails in an unforeseen way is a row; an error of the machine is one line."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.collection.assembly import Run as RunOfCollection
from data_prep.images import inspection
from data_prep.images.build import Run, build
from data_prep.images.folders import read_folders
from data_prep.images.split import Split
from data_prep.process_pool import lost
from data_prep.rsna2024 import datalist as rsna
from data_prep.study_table import datalist as study_table
from monai_spine import console
from monai_spine.errors import ExitCode, InvalidTableError, OutputError, reason_of
from tests.data_prep.tiny_phantom import write_cohort
from tests.monai_spine.prediction.parts import write_study


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(28, "No space left on device", "/out/a.csv"), 2, "error: /out/a.csv: No space left on device; "),
        (OSError(30, "Read-only file system"), 2, "error: Read-only file system; "),
        (MemoryError("Unable to allocate 9 TiB"), 2, "error: the memory is exhausted (Unable to allocate 9 TiB)"),
        (InvalidTableError("a\n\tb   c"), 2, "error: a b c"),
        (OutputError("cannot write\nto it"), 2, "error: cannot write to it"),
        (OutputError("the folder\nis in use"), 2, "error: the folder is in use"),
        (lost("a worker was killed", 3, 9), 75, "error: a worker was killed; 3 of 9 tasks were done. "),
    ],
)
def test_errors_of_the_machine_and_of_the_input_are_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        console.run_app(app)
    assert end.value.code == code
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    def app() -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        console.run_app(app)


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    code = "from monai_spine import console\nconsole.run_app(lambda: [print('line') for _ in range(100000)])"
    process = subprocess.run(
        f'{sys.executable} -c "{code}" | head -1', shell=True, capture_output=True, text=True, check=False
    )
    assert (process.stdout, process.stderr) == ("line\n", "")


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_error_of_the_machine_inside_of_another_error_is_no_reason_of_a_study(wrapped: bool) -> None:
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("applying transform") from (error if wrapped else None)
    except RuntimeError as error:
        with pytest.raises(OSError, match="No space left"):
            reason_of(error)


def failing(function, study: str):
    """The function, which fails for one study."""

    def fails(*arguments: object, **options: object) -> object:
        if study in (arguments[0], getattr(arguments[0], "study", None)):
            raise ZeroDivisionError("in\ntwo lines")
        return function(*arguments, **options)

    return fails


def failed_rows(out: Path) -> list[dict[str, str]]:
    with (out / "quality.csv").open(newline="") as table:
        return [row for row in csv.DictReader(table) if row["code"] == "STUDY_FAILED"]


def listed(out: Path) -> list[str]:
    content = json.loads((out / "datalist.json").read_text())
    return [entry["study_id"] for entry in content["training"] + content["test"]]


def test_study_table_goes_on_after_a_study_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        write_study(tmp_path / name, t1=False, ax=False)
    rows = "study,path,series_type\na,a/sagittal_t2.nii.gz,sagittal_t2\nb,b/sagittal_t2.nii.gz,sagittal_t2\n"
    (tmp_path / "own.csv").write_text(rows)
    monkeypatch.setattr(study_table, "make_entry", failing(study_table.make_entry, "a"))
    collection, _ = study_table.build(tmp_path / "own.csv", tmp_path / "out", RunOfCollection(quiet=True))
    assert collection.exit_code is ExitCode.SOME_REFUSED
    assert listed(tmp_path / "out") == ["b"]
    (row,) = failed_rows(tmp_path / "out")
    assert row["study_id" if "study_id" in row else "study"] == "a"
    assert "unexpected ZeroDivisionError in test_isolation.py" in row["detail"]
    assert "\n" not in row["detail"]


def test_rsna_goes_on_after_a_study_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = write_cohort(tmp_path / "cohort", studies=3)
    first = sorted(path.name for path in (cohort / "train_images").iterdir())[0]
    monkeypatch.setattr(rsna, "join", failing(rsna.join, first))
    collection = rsna.build(cohort, tmp_path / "out", RunOfCollection(folds=2, quiet=True))
    assert collection.exit_code is ExitCode.SOME_REFUSED
    assert len(listed(tmp_path / "out")) == 2
    assert len(failed_rows(tmp_path / "out")) == 1


def test_images_go_on_after_an_image_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("yes", "no"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for n in range(4):
            values = np.random.default_rng(ord(label[0]) + n).integers(0, 255, (30, 30), dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "in" / label / f"{n}.png")
    measured = inspection._measured

    def fails(number: int, sample: object) -> object:
        if number == 2:
            raise ZeroDivisionError("in\ntwo lines")
        return measured(number, sample)

    monkeypatch.setattr(inspection, "_measured", fails)
    report = build(read_folders(tmp_path / "in"), tmp_path / "out", Run(Split(folds=2), quiet=True))
    assert len(report.kept) == 7
    (fault,) = (fault for fault in report.faults if fault.code.name == "UNREADABLE")
    assert "\n" not in fault.detail
