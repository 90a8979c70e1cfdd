import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from monai_spine.bundle.run import BundleRunError, parse_settings
from monai_spine.commands.main import app
from monai_spine.data.datalist import read_datalist
from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.experiments import fold_run
from monai_spine.experiments.cross_validation import Plan, cross_validate
from monai_spine.experiments.fold_run import OWN
from monai_spine.scoring.competition import JEFFREYS, competition_score, level_prior
from monai_spine.tables.score_report import report_score
from tests.bundles.in_process import replace_steps
from tests.bundles.runs import CONFIGS, SMALL
from tests.cohorts import write_cohort

pytestmark = pytest.mark.slow  # trains networks, in processes of their own

BUNDLE = CONFIGS.parent
SETTINGS = tuple((name, str(value)) for name, value in {**SMALL, "epochs": 1}.items())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data"), studies=6)


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cv")
    plan = Plan(BUNDLE, data, (), SETTINGS)
    cross_validate(plan, out, [0], lambda _: None)  # in processes of its own, as for a user
    with pytest.MonkeyPatch.context() as patch:
        replace_steps(patch)
        cross_validate(plan, out, None, lambda _: None)
    return out


@pytest.mark.slow
def test_every_study_is_graded_by_the_fold_that_never_saw_it(done: Path, data: Path) -> None:
    records = read_datalist(data)
    rows = pd.read_csv(done / "out_of_fold.csv", index_col=0)
    assert len(rows) == 25 * len(records)
    for fold in (0, 1):
        mine = {record["study_id"] for record in records if record["fold"] == fold}
        own = pd.read_csv(done / f"fold_{fold}/eval/predictions.csv", index_col=0)
        assert {row.split("_")[0] for row in own.index} == mine
        assert np.allclose(own, rows.loc[own.index], atol=1e-8)
    files = {"fold_0.pt", "fold_1.pt", "fold_0.json", "fold_1.json"}
    assert {path.name for path in (done / "models").iterdir()} == files


@pytest.mark.slow
def test_the_score_is_that_of_the_tables(done: Path) -> None:
    content = json.loads((done / "cross_validation.json").read_text())
    table = json.loads(report_score(done / "solution.csv", done / "out_of_fold.csv").to_json())
    assert content["score"] == pytest.approx(table["score"], abs=1e-6)
    assert np.mean(list(content["folds"].values())) == pytest.approx(content["score"], abs=0.3)


def test_the_prior_of_a_study_is_learnt_from_the_other_folds(done: Path, data: Path) -> None:
    records = read_datalist(data)
    rows = []
    for record in records:
        others = [one["label"] for one in records if one["fold"] != record["fold"]]
        rows.append(level_prior(np.stack(others), JEFFREYS))
    expected = competition_score(np.stack([record["label"] for record in records]), np.stack(rows)).score
    assert json.loads((done / "cross_validation.json").read_text())["prior"] == pytest.approx(expected)


@pytest.mark.slow
def test_a_finished_fold_is_not_done_again_unless_something_changed(
    done: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[str] = []
    before = (done / "models/fold_0.pt").read_bytes()
    cross_validate(Plan(BUNDLE, data, (), SETTINGS), done, None, reported.append)
    assert [line for line in reported if "done before" in line] == reported
    assert (done / "models/fold_0.pt").read_bytes() == before
    out, steps = shutil.copytree(done, tmp_path / "cv"), []
    monkeypatch.setattr(fold_run, "run_step", lambda step, *_, **__: steps.append(step))
    cross_validate(Plan(BUNDLE, data, (), (*SETTINGS, ("seed", "3"))), out, None, lambda _: None)
    assert steps == ["training", "evaluation"] * 2


@pytest.mark.slow
def test_a_fold_that_was_killed_after_its_training_is_evaluated_alone(
    done: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, steps = shutil.copytree(done, tmp_path / "cv"), []
    state = out / "fold_1/run.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "evaluated": None}))
    monkeypatch.setattr(fold_run, "run_step", lambda step, *_, **__: steps.append(step))
    cross_validate(Plan(BUNDLE, data, (), SETTINGS), out, None, lambda _: None)
    assert steps == ["evaluation"]


@pytest.mark.slow
def test_a_training_that_fails_says_why_and_where_its_log_is(data: Path, tmp_path: Path) -> None:
    plan = Plan(BUNDLE, data, (), (*SETTINGS, ("optimizer#lr", "-1")))
    with pytest.raises(BundleRunError, match=r"log\.txt"):
        cross_validate(plan, tmp_path, [1], lambda _: None)
    assert "Invalid learning rate" in (tmp_path / "fold_1/log.txt").read_text()


def test_what_cannot_be_done_is_refused_before_anything_is(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"out of \[0, 1\]"):
        cross_validate(Plan(BUNDLE, data), tmp_path / "a", [5], lambda _: None)
    with pytest.raises(MissingInputError, match="presets"):
        cross_validate(Plan(BUNDLE, data, (Path("nothing"),)), tmp_path / "a", [0], lambda _: None)
    assert not (tmp_path / "a").exists()
    for text in ("epochs", "=3", "epochs="):
        with pytest.raises(InvalidOptionError, match="name=value"):
            parse_settings([text], OWN)
    with pytest.raises(InvalidOptionError, match="itself"):
        parse_settings(["fold=1"], OWN)
    assert parse_settings(["network_def#dropout=0.1"], OWN) == (("network_def#dropout", "0.1"),)


def test_the_command_ends_with_2_for_a_bundle_that_is_not_there(data: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["cv", str(tmp_path / "none"), "--data", str(data), "-o", str(tmp_path / "o")])
    assert isinstance(result.exception, MissingInputError)
