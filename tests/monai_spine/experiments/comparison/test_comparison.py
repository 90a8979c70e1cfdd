"""Comparisons of the whole-study classifier with itself, its trainings in this process."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from monai_spine.commands.main import app
from monai_spine.data.datalist import label_array, read_datalist
from monai_spine.errors import ExitCode, InvalidOptionError, SpineError
from monai_spine.experiments.comparison import comparison
from monai_spine.experiments.comparison.candidate import presets
from monai_spine.experiments.comparison.comparison import assessment_of
from monai_spine.experiments.comparison.report import Row
from monai_spine.scoring.competition import competition_score
from monai_spine.scoring.submission import Labels, read_predictions
from monai_spine.training.run_record import read_record
from tests.bundles.in_process import replace_steps
from tests.bundles.runs import CONFIGS, SMALL
from tests.cohorts import write_cohort

BUNDLE = CONFIGS.parent
SETTINGS = tuple((name, str(value)) for name, value in SMALL.items() if name != "epochs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six studies to train on in two folds, and two of a test section."""
    path = write_cohort(tmp_path_factory.mktemp("data"), studies=8)
    content = json.loads(path.read_text())
    content["test"] = content["training"][6:]
    content["training"] = content["training"][:6]
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Override files: one that works, one that cannot."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "slow.json").write_text(json.dumps({"learning_rate": 1e-5}))
    (folder / "bad.json").write_text(json.dumps({"optimizer#lr": -1}))
    return [f"{name}={folder / name}.json" for name in ("slow", "bad")]


def plan(data: Path, folds: list[int], **budget) -> comparison.Plan:
    return comparison.Plan(BUNDLE, data, assessment_of(data, folds, None, None), **budget)


def test_presets_may_be_files(files: list[str]) -> None:
    assert [one.name for one in presets(BUNDLE, files)] == ["slow", "bad"]


@pytest.fixture(scope="module")
def compared(data: Path, files: list[str], tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("compared")
    reported: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        replace_steps(patch)
        candidates = presets(BUNDLE, ["default", *files], SETTINGS)
        found = comparison.compare(plan(data, [0], epochs=2), candidates, out, reported.append)
    return out, found, reported


@pytest.mark.slow
def test_a_candidate_that_fails_has_a_row_and_the_others_go_on(compared) -> None:
    out, found, reported = compared
    assert found.exit_code is ExitCode.SOME_REFUSED
    table = pd.read_csv(out / "comparison.csv")
    assert list(table["state"]) == ["done", "done", "failed"]
    assert "Invalid learning rate" in table["reason"].iloc[2] and "failed:" in found.text
    assert any(line.startswith("[3/3] bad: failed") for line in reported)
    assert list(table["score"][:2]) == sorted(table["score"][:2])
    assert table["behind_best"][0] == 0


@pytest.mark.slow
def test_the_score_is_that_of_the_test_studies(compared, data: Path) -> None:
    out, _, _ = compared
    records = read_datalist(data, "test")
    labels = Labels(tuple(record["study_id"] for record in records), label_array(records))
    table = pd.read_csv(out / "comparison.csv", index_col="name")
    for name in ("default", "slow"):
        predictions = read_predictions(out / name / "fold_0/eval/predictions.csv", labels)
        score = competition_score(labels.grades, predictions.probabilities)
        assert table.loc[name, "score"] == pytest.approx(score.score, abs=1e-4)
        assert table.loc[name, "any_severe_spinal"] == pytest.approx(score.any_severe_spinal, abs=1e-4)
        assert table.loc[name, "score_low"] <= table.loc[name, "score"] <= table.loc[name, "score_high"]
    content = json.loads((out / "comparison.json").read_text())
    assert (content["evaluated_on"], content["studies"], content["floor"]) == ("datalist.json: test", 2, None)


@pytest.mark.slow
def test_costs_are_those_of_the_record_and_the_picture_is_there(compared) -> None:
    out, _, _ = compared
    lines = read_record(out / "default/fold_0/epochs.jsonl")
    row = pd.read_csv(out / "comparison.csv", index_col="name").loc["default"]
    assert (row["parameters"], row["epochs"]) == (lines[0]["parameters"], 2)
    assert row["processor_minutes"] == pytest.approx(sum(line["processor_seconds"] for line in lines) / 60, abs=0.01)
    rate = sum(line["training"]["items"] for line in lines) / sum(line["training"]["seconds"] for line in lines)
    assert row["training_per_second"] == pytest.approx(rate, rel=0.01)
    assert Image.open(out / "comparison.png").size[0] > 400


@pytest.mark.slow
def test_again_only_what_changed_or_was_killed_is_done(
    compared, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(compared[0], tmp_path / "again")
    done = replace_steps(monkeypatch)
    candidates = presets(BUNDLE, ["default"], SETTINGS)
    again = comparison.compare(plan(data, [0], epochs=2), candidates, out, lambda _: None)
    assert done == []
    assert again.rows[0].figures["score"] == pytest.approx(compared[1].rows[0].figures["score"], abs=0.5)
    state = out / "default/fold_0/run.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "trained": False, "evaluated": None}))
    comparison.compare(plan(data, [0], epochs=2), candidates, out, lambda _: None)
    assert [step for step, _ in done] == ["evaluation"]
    record = out / "default/fold_0/epochs.jsonl"
    state.write_text(json.dumps({**json.loads(state.read_text()), "trained": False, "evaluated": None}))
    record.write_text(record.read_text().splitlines()[0] + "\n")
    shutil.rmtree(out / "default/fold_0/models")
    comparison.compare(plan(data, [0], epochs=2), candidates, out, lambda _: None)
    assert [step for step, _ in done] == ["evaluation", "training", "evaluation"]
    comparison.compare(plan(data, [0], epochs=1), candidates, out, lambda _: None)
    assert len(done) == 5


@pytest.mark.slow
def test_minutes_become_epochs_measured_once_and_folds_are_joined(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {**json.loads(data.read_text()), "test": []}
    held = data.with_name("held.json")
    held.write_text(json.dumps(content))
    done = replace_steps(monkeypatch)
    candidates = presets(BUNDLE, ["default"], SETTINGS)
    found = comparison.compare(plan(held, [0, 1], minutes=1e-6), candidates, tmp_path, lambda _: None)
    steps = [(step, root.name) for step, root in done]
    runs = [[("training", "probe"), ("training", fold), ("evaluation", fold)] for fold in ("fold_0", "fold_1")]
    assert steps == [*runs[0], *runs[1]]
    assert found.rows[0].costs["epochs"] == 1
    assert json.loads((tmp_path / "comparison.json").read_text())["studies"] == 6
    measured = json.loads((tmp_path / "default/fold_0/budget.json").read_text())
    assert measured["minutes"] == pytest.approx(5e-7) and measured["epoch_seconds"] > 0
    assert not (tmp_path / "default/fold_0/probe").exists()


@pytest.mark.slow
def test_if_all_fail_there_is_no_comparison(data: Path, files: list[str], tmp_path: Path, monkeypatch) -> None:
    replace_steps(monkeypatch)
    with pytest.raises(SpineError, match="every candidate failed"):
        comparison.compare(plan(data, [0], epochs=1), presets(BUNDLE, files[1:], SETTINGS), tmp_path, lambda _: None)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--presets", "default", "--backbones", "resnet18"],
        ["--presets", "default", "--epochs", "1", "--minutes", "1"],
        ["--presets", "default", "--preset", "volume_3d"],
        ["--presets", "default", "--set", "epochs=3"],
        ["--backbones", "resnet18"],
        ["--presets", "default", "--folds", "7"],
    ],
)
def test_what_does_not_fit_together_is_refused(data: Path, tmp_path: Path, options: list[str]) -> None:
    command = ["compare", str(BUNDLE), "--data", str(data), "-o", str(tmp_path / "o"), *options]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, SpineError)
    assert not (tmp_path / "o").exists()


def test_a_floor_is_for_studies_alone(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text(json.dumps({"classes": ["a", "b"]}))
    with pytest.raises(InvalidOptionError, match="leave it out for images"):
        assessment_of(tmp_path / "datalist.json", [0], None, tmp_path / "floor.json")


def test_rows_are_sorted_by_the_figure_undefined_ones_after_it_and_failed_ones_last() -> None:
    figures = {"a": 0.0, "b": 0.5, "c": None, "d": 0.2}
    rows = [Row(name, {"key": value}) for name, value in figures.items()] + [Row("e", reason="no memory")]
    assessment = SimpleNamespace(key="key", lower_is_better=False)
    assert [row.name for row in comparison._sorted(rows, assessment)] == ["b", "d", "a", "c", "e"]
    assessment.lower_is_better = True
    assert [row.name for row in comparison._sorted(rows, assessment)] == ["a", "d", "b", "c", "e"]
