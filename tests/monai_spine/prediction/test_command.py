"""The command itself, as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from monai_spine.commands.main import app
from monai_spine.console import run_app
from monai_spine.levels import localizers
from tests.cohorts import write_datalist
from tests.monai_spine.prediction.parts import oracle, points_of_spine, write_bundle, write_study


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """In this process, which has torch already."""
    with pytest.raises(SystemExit) as ended:
        run_app(lambda: app(["predict", *map(str, arguments)]))
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def known_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    study = write_study(tmp_path / "in" / "s1")
    monkeypatch.setattr(localizers.LevelLocator, "from_bundle", lambda *_, **__: oracle(study))
    return study.parent


@pytest.mark.slow
def test_a_folder_becomes_tables_and_findings_and_the_provenance_is_on_stderr(
    known_levels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = [write_bundle(tmp_path / name, seed=seed) for name, seed in (("one", 0), ("two", 1))]
    options = ("--no-refine", "--tta", "flip", "--device", "cpu")
    code, out, err = predict(
        capsys, "-i", known_levels, "-o", tmp_path / "out", "--model", bundles[0], "--model", bundles[1], *options
    )
    assert code == 0
    assert out.startswith("1 study graded, 6 of 25 findings not covered by any slice, ")
    assert "one, two and lumbar_level_localizer were trained on phantoms" in err
    content = json.loads((tmp_path / "out/s1/findings.json").read_text())
    assert [(model["bundle"], model["flipped_too"]) for model in content["models"]] == [("one", True), ("two", True)]


def test_inputs_may_follow_one_another_as_the_shell_gives_them(
    known_levels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "one")
    files = sorted((known_levels / "s1").glob("sagittal*.nii.gz"))
    code, _, _ = predict(capsys, "-i", *files, "-o", tmp_path / "out", "--model", bundle, "--no-refine")
    assert code == 0
    assert (tmp_path / "out/s1/findings.json").is_file()


def test_given_points_need_no_localizer_to_find_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "s1")
    series = {kind: [f"s1/{kind}.nii.gz"] for kind in ("sagittal_t1", "sagittal_t2", "axial_t2")}
    points = {name: list(place) for name, place in points_of_spine().items()}
    datalist = write_datalist(tmp_path / "datalist.json", [{"study_id": "s1", **series, "points": points}])
    bundle = write_bundle(tmp_path / "one")
    code, _, _ = predict(
        capsys, "-i", datalist, "-o", tmp_path / "out", "--model", bundle, "--no-refine", "--given-points"
    )
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "OUT"), "expected something to grade"),
        (("-i", "IN", "-o", "OUT", "--model", "BUNDLE", "BUNDLE"), "is a bundle, not an input; write --model before"),
        (("-i", "gone", "-o", "OUT", "--model", "BUNDLE", "--no-refine"), "there is no gone"),
        (("-i", "IN", "-o", "OUT", "--model", "gone"), "gone/configs/inference.json"),
        (("-i", "IN", "-o", "OUT", "--model", "BUNDLE", "--device", "tpu"), "expected the device cpu, cuda or mps"),
        (("-i", "IN", "-o", "FILE", "--model", "BUNDLE"), "is a file; expected a folder"),
        (("-i", "IN", "-o", "IN", "--model", "BUNDLE"), "is the input"),
        (("-i", "IN", "-o", "IN/new/out", "--model", "BUNDLE"), "lies inside the input"),
        (("-i", "FILE", "-o", "HERE", "--model", "BUNDLE"), "holds the input"),
        (("-i", "NODICOM", "-o", "HERE/new/out", "--model", "BUNDLE", "--no-refine"), "(NOT_AN_IMAGE: 1)"),
        (("-i", "IN", "-o", "OUT", "--model", "BUNDLE", "--prior-from", "gone.csv"), "gone.csv"),
    ],
)
def test_what_cannot_be_used_ends_with_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    write_study(tmp_path / "in" / "s1", t1=False, ax=False)
    (tmp_path / "file").touch()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "letter.txt").write_text("no image")
    words = {"IN": tmp_path / "in", "OUT": tmp_path / "out", "FILE": tmp_path / "file", "HERE": tmp_path}
    words |= {"IN/new/out": tmp_path / "in/new/out", "HERE/new/out": tmp_path / "new/out"}
    words["NODICOM"] = tmp_path / "texts"
    if "BUNDLE" in arguments:
        words["BUNDLE"] = write_bundle(tmp_path / "one")
    code, out, err = predict(capsys, *(words.get(word, word) for word in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    left = {path.name for path in tmp_path.iterdir()} | {path.name for path in (tmp_path / "in").iterdir()}
    assert left <= {"in", "s1", "file", "texts", "one"}  # a refused run leaves nothing behind


def test_help_shows_an_example_and_does_not_import_torch() -> None:
    run = "import sys; from monai_spine.commands.main import app; app(standalone_mode=False)"
    code = f"{run}; assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "predict", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "monai-spine predict -i dicom/ -o graded" in done.stdout


def three_studies(folder: Path) -> Path:
    """A datalist with points for three studies."""
    points = {name: list(place) for name, place in points_of_spine().items()}
    kinds = ("sagittal_t1", "sagittal_t2", "axial_t2")
    entries = []
    for name in ("s1", "s2", "s3"):
        write_study(folder / name)
        entries.append({"study_id": name, **{kind: [f"{name}/{kind}.nii.gz"] for kind in kinds}, "points": points})
    return write_datalist(folder / "datalist.json", entries)


@pytest.mark.slow
def test_processes_and_parts_grade_as_one_process_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    options = ["-i", three_studies(tmp_path / "in"), "--model", write_bundle(tmp_path / "one"), "--no-refine"]
    options += ["--given-points", "--device", "cpu"]
    assert predict(capsys, *options, "-o", tmp_path / "whole")[0] == 0
    assert predict(capsys, *options, "-o", tmp_path / "two", "--workers", 2)[0] == 0
    for number in (1, 2):
        assert predict(capsys, *options, "-o", tmp_path / "parts", "--part", f"{number}/2")[0] == 0
    code, out, _ = predict(capsys, "--merge", tmp_path / "parts")
    assert (code, out.startswith("3 studies of 2 of 2 parts; see ")) == (0, True)
    for table in ("predictions.csv", "findings.csv"):
        whole = (tmp_path / "whole" / table).read_text()
        assert (tmp_path / "two" / table).read_text() == whole
        assert (tmp_path / "parts" / table).read_text() == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-i", "x"), "name the output folder with -o"),
        (("--merge",), "--merge takes the output folder of the parts"),
        (("--merge", "gone"), "expected finished parts in gone"),
        (("-i", "x", "-o", "out", "--part", "9/8"), "a part from 1 to 8, but found 9/8"),
    ],
)
def test_bad_parts_end_with_one_line_and_2(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = predict(capsys, *arguments)
    assert (code, len(err.splitlines())) == (2, 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_dicom_is_refused_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom/1.dcm").write_bytes(b"x")
    code, _, err = predict(capsys, "-i", tmp_path / "dicom", "-o", tmp_path / "out", "--part", "1/2")
    assert (code, "convert it once" in err) == (2, True)
    assert not (tmp_path / "out").exists()
