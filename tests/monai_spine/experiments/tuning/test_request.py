from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner, Result

import monai_spine.experiments.tuning
from monai_spine.bundle.run import BundleRunError, BundleStopped
from monai_spine.commands.main import app
from monai_spine.errors import ExitCode, InvalidOptionError, SpineError
from monai_spine.experiments.tuning.request import Configuration, direction_of, tune
from monai_spine.experiments.tuning.search import PRUNERS, TuningRequest
from monai_spine.experiments.tuning.space import read_space
from monai_spine.experiments.tuning.storage import TrialStorage
from monai_spine.training.run_record import read_record
from tests.bundles.in_process import replace_steps, run_step
from tests.bundles.runs import CONFIGS, SMALL
from tests.cohorts import write_cohort

BUNDLE = CONFIGS.parent


SETTINGS = tuple((name, str(value)) for name, value in SMALL.items() if name != "epochs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data"), studies=4)


def test_the_figure_and_its_direction_are_those_of_the_bundle(data: Path) -> None:
    assert Configuration(BUNDLE, (), SETTINGS, data).key_metric() == ("score", False)
    assert [direction_of(name) for name in ("val_loss", "score", "mean_auc", "balanced_accuracy")] == [0, 0, 1, 1]


SPACE = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "network_def#dropout": {"choices": [0.0, 0.5]},
    "length": {"sets": {"one": {"epochs": 1}, "two": {"epochs": 2}}},
}


def pretend(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Trainings that only keep a record: the score falls with every epoch, and a rate below 0 is an error."""
    done: list[tuple[str, Path]] = []

    def step(step: str, configs: list[Path], settings, log: Path, *, follow=None, stop=None) -> None:
        root = Path(dict(settings)["bundle_root"])
        done.append((step, root))
        chosen = json.loads((root / "overrides.json").read_text())
        if chosen.get("learning_rate", 1) < 0:
            raise BundleRunError("training ended with exit code 1: ValueError: invalid learning rate")
        (root / "models").mkdir()
        epochs = int(dict(settings).get("epochs", 1))
        for epoch in range(1, epochs + 1):
            line = {"epoch": epoch, "epochs": epochs, "metrics": {"score": 1 / epoch}}
            with (root / "epochs.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            if stop():
                raise BundleStopped

    monkeypatch.setattr("monai_spine.experiments.tuning.search.run_step", step)
    for picture in ("history", "importances", "parallel"):
        monkeypatch.setattr(f"monai_spine.experiments.tuning.results.write_{picture}", lambda *_: None)
    return done


def request(data: Path, space: dict, trials: int, **changes) -> TuningRequest:
    path = data.parent / f"space_{abs(hash(str(space)))}.json"
    path.write_text(json.dumps(space))
    within = read_space(path, [BUNDLE / "configs/train.json"])
    return replace(TuningRequest(BUNDLE, data, within, trials, settings=SETTINGS), **changes)


def run_command(data: Path, out: Path, space: Path) -> Result:
    options = {"--data": data, "-o": out, "--space": space, "--trials": 2}
    words = [str(word) for option in options.items() for word in option]
    return CliRunner().invoke(app, ["tune", str(BUNDLE), *words])


@pytest.fixture(scope="module")
def searched(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        replace_steps(patch)
        found = tune(request(data, SPACE, 2), out, lambda _: None)
    assert found.exit_code is ExitCode.DONE
    yield out


def storage(url: str, fingerprint: str = "a") -> TrialStorage:
    return TrialStorage(url, "s", higher_is_better=False, pruner=optuna.pruners.NopPruner(), fingerprint=fingerprint)


@pytest.mark.slow
def test_the_best_of_all_epochs_of_all_trials_is_found(searched: Path) -> None:
    table = pd.read_csv(searched / "trials.csv")
    assert list(table["state"]) == ["done"] * 2
    reported = {n: read_record(searched / f"trial_{n:04d}/epochs.jsonl") for n in table["number"]}
    values = [min(line["metrics"]["score"] for line in reported[n]) for n in table["number"]]
    assert list(table["value"]) == pytest.approx(values)
    best = json.loads((searched / "search.json").read_text())["best"]
    assert best["value"] == pytest.approx(min(values))
    assert best["number"] == table["number"][table["value"].idxmin()]


@pytest.mark.slow
def test_the_best_configuration_is_one_that_a_training_takes(searched: Path, data: Path, tmp_path: Path) -> None:
    chosen = json.loads((searched / "best.json").read_text())
    best = json.loads((searched / "search.json").read_text())["best"]
    assert chosen["learning_rate"] == best["parameters"]["learning_rate"]
    assert chosen["epochs"] == {"one": 1, "two": 2}[best["parameters"]["length"]]
    assert chosen["grid_size"] == SMALL["grid_size"]
    configs = [CONFIGS / "train.json", searched / "best.json"]
    run_step("training", configs, (("bundle_root", str(tmp_path)), ("dataset_dir", str(data.parent))), tmp_path / "log")
    assert f"epoch {chosen['epochs']}/{chosen['epochs']}" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_pictures_and_hyper_parameters_are_there(searched: Path) -> None:
    for name in ("history", "importances", "parallel"):
        assert min(Image.open(searched / f"{name}.png").size) > 100
    runs = sorted((searched / "tensorboard").iterdir())
    assert len(runs) == 2
    events = EventAccumulator(str(runs[0])).Reload()
    assert {"best/score", "validation/score"} <= set(events.Tags()["scalars"])
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_and_gives_back_what_was_interrupted(
    searched: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "again"
    shutil.copytree(searched, out)
    database = f"sqlite:///{out / 'study.db'}"
    study = optuna.load_study(study_name="search", storage=database)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    running = study.ask()
    worker = study.trials[0].user_attrs["worker"].partition(":")[0]
    running.set_user_attr("worker", f"{worker}:{dead.pid}")
    done = pretend(monkeypatch)
    reported: list[str] = []
    found = tune(request(data, SPACE, 3), out, reported.append)
    assert "interrupted" in reported[0]
    assert [path.name for _, path in done] == ["trial_0003"]
    states = [trial.state for trial in optuna.load_study(study_name="search", storage=database).trials]
    assert states == [TrialState.COMPLETE] * 2 + [TrialState.FAIL, TrialState.COMPLETE]
    assert (found.trials, found.exit_code) == (3, ExitCode.DONE)
    assert tune(request(data, SPACE, 3), out, reported.append).best.number == found.best.number
    assert len(done) == 1


@pytest.mark.slow
def test_the_same_seed_proposes_the_same_trials(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    rates = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tune(request(data, SPACE, 2, seed=seed), tmp_path / name, lambda _: None)
        rates.append(list(pd.read_csv(tmp_path / name / "trials.csv")["learning_rate"]))
    assert rates[0] == rates[1] != rates[2]
    assert len(set(rates[0])) == 2


def test_hopeless_trials_are_ended_early(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = pretend(monkeypatch)
    asked = request(data, {"network_def#dropout": {"choices": [0.0, 0.5]}}, 1, settings=(*SETTINGS, ("epochs", "5")))
    threshold = optuna.pruners.ThresholdPruner(upper=0.01, n_warmup_steps=2)
    monkeypatch.setitem(PRUNERS, "median", lambda: threshold)
    with pytest.raises(SpineError, match="none of 1 trial was completed"):
        tune(asked, tmp_path, lambda _: None)
    assert len(done) == 1
    assert len(read_record(tmp_path / "trial_0000/epochs.jsonl")) == 2
    assert not (tmp_path / "trial_0000/models").exists()
    assert list(pd.read_csv(tmp_path / "trials.csv")["state"]) == ["ended early"]


def test_a_trial_that_fails_does_not_end_the_search(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    rates = {"learning_rate": {"choices": [-1.0, 0.001]}}
    settings = (*SETTINGS, ("epochs", "1"))
    found = tune(request(data, rates, 4, settings=settings, seed=1), tmp_path / "some", lambda _: None)
    table = pd.read_csv(tmp_path / "some/trials.csv")
    assert set(table["state"]) == {"done", "failed"}
    assert (table["reason"].notna() == (table["learning_rate"] == -1)).all()
    assert found.exit_code is ExitCode.SOME_REFUSED
    assert len(found.failed) == (table["state"] == "failed").sum()
    with pytest.raises(SpineError, match=r"the first 3 trials failed; trial 0: .*earning rate"):
        tune(
            request(data, {"learning_rate": {"choices": [-1.0, -2.0]}}, 9, settings=settings),
            tmp_path / "none",
            lambda _: None,
        )


@pytest.mark.slow
def test_another_search_is_not_mixed_in(searched: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="another space"):
        tune(request(data, SPACE, 9, seed=4), searched, lambda _: None)
    with pytest.raises(InvalidOptionError, match="folder of its own"):
        tune(request(data, SPACE, 9, study="mine"), searched, lambda _: None)
    with pytest.raises(InvalidOptionError, match="both set and in the search space"):
        tune(request(data, SPACE, 9, settings=(("network_def#dropout", "0.1"),)), tmp_path / "x", lambda _: None)
    for url in ("nothing", "sqlite:////proc/none/study.db", "nothing://host/name"):
        with pytest.raises(InvalidOptionError):
            tune(request(data, SPACE, 9, storage=url), tmp_path / "x", lambda _: None)
    assert not (tmp_path / "x").exists()


def test_the_command_refuses_a_bad_space_before_anything_else(data: Path, tmp_path: Path) -> None:
    space = tmp_path / "space.json"
    space.write_text(json.dumps({"learnig_rate": {"choices": [1, 2]}}))
    result = run_command(data, tmp_path / "o", space)
    assert "learning_rate" in str(result.exception)
    assert not (tmp_path / "o").exists()


def test_without_optuna_the_command_says_what_to_install(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("search", "request", "storage", "results"):
        monkeypatch.delitem(sys.modules, f"monai_spine.experiments.tuning.{name}")
        monkeypatch.delattr(monai_spine.experiments.tuning, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    space = tmp_path / "space.json"
    space.write_text(json.dumps(SPACE))
    result = run_command(data, tmp_path / "o", space)
    assert isinstance(result.exception, InvalidOptionError)
    assert "pip install 'monai-spine[tune]'" in str(result.exception)
