import os
import sys
import time
from pathlib import Path

import pytest
from ignite.engine import Engine, Events

from monai_spine.errors import InvalidOptionError
from monai_spine.training.mlflow_tracking import EXPERIMENT, MLflowTracking


def engines() -> tuple[Engine, Engine]:
    """A trainer that validates after each epoch, and the evaluator."""
    trainer = Engine(lambda engine, _: {"loss": 1.0 / engine.state.iteration})
    evaluator = Engine(lambda *_: None)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        evaluator.run([0])

    @evaluator.on(Events.EPOCH_COMPLETED)
    def figures() -> None:
        evaluator.state.metrics = {
            "score": 0.5 - 0.1 * trainer.state.epoch,
            "loss_spinal_canal_stenosis": 0.3,
            "auc_severe": float("nan"),
            "table": [1, 2],
        }

    return trainer, evaluator


def runs_of(client):
    return client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])


@pytest.mark.slow
def test_settings_losses_and_figures_of_a_training_are_in_one_run_of_a_local_folder(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra tracking is not installed")
    trainer, evaluator = engines()
    settings = {"learning_rate": 0.1, "mixing#levels": 0.5, "views#0#pixels": [64, 64], "long": "x" * 900}
    MLflowTracking(str(tmp_path / "runs"), settings, tmp_path / "run.txt").attach(evaluator, trainer)
    trainer.run(range(25), max_epochs=2)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlruns.db'}")
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "0.1"
    assert run.data.params["mixing.levels"] == "0.5"
    assert run.data.params["views.0.pixels"] == "[64, 64]"
    assert {"loss/training", "score/score", "loss/spinal_canal_stenosis"} <= set(run.data.metrics)
    assert not any("auc" in name for name in run.data.metrics)
    scores = {one.step: one.value for one in client.get_metric_history(run.info.run_id, "score/score")}
    assert scores == pytest.approx({1: 0.4, 2: 0.3})
    assert [one.step for one in client.get_metric_history(run.info.run_id, "loss/training")] == [1, 21, 25, 41, 50]


@pytest.mark.slow
def test_a_resumed_training_goes_on_with_its_run_and_another_of_the_same_second_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first training is killed in its second epoch, and resumed for more epochs than were planned."""
    mlflow = pytest.importorskip("mlflow", reason="the extra tracking is not installed")
    strftime = time.strftime
    monkeypatch.setattr("time.strftime", lambda *args: "20260101-120000" if len(args) == 1 else strftime(*args))
    for folder, epochs, killed in (("a", 3, True), ("b", 2, False), ("a", 4, False)):
        trainer, evaluator = engines()
        (tmp_path / folder).mkdir(exist_ok=True)
        MLflowTracking(str(tmp_path / "runs"), {"epochs": epochs}, tmp_path / folder / "run.txt").attach(
            evaluator, trainer
        )
        if killed:
            trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), lambda engine: os._exit(9))
            child = os.fork()
            if not child:
                trainer.run(range(3), max_epochs=epochs)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        else:
            state = {"epoch_length": 3, "max_epochs": epochs, "iteration": 3} if folder == "a" else None
            if state:
                trainer.load_state_dict(state)
            trainer.run(range(3), max_epochs=epochs)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlruns.db'}")
    found = {run.data.params["epochs"]: run for run in runs_of(client)}
    assert set(found) == {"2", "3"}
    steps = {one.step for one in client.get_metric_history(found["3"].info.run_id, "score/score")}
    assert steps == {1, 2, 3, 4}
    assert found["3"].info.status == "FINISHED"


@pytest.mark.slow
def test_a_finished_training_that_gets_more_epochs_goes_on_with_its_run_and_another_place_has_the_settings(
    tmp_path: Path,
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra tracking is not installed")
    for place, epochs in (("runs", 1), ("runs", 3), ("elsewhere", 4)):
        trainer, evaluator = engines()
        MLflowTracking(str(tmp_path / place), {"epochs": epochs}, tmp_path / "run.txt").attach(evaluator, trainer)
        trainer.load_state_dict({"epoch_length": 3, "max_epochs": epochs, "iteration": 3 * (epochs - 1)})
        trainer.run(range(3))
    for place, planned, steps in (("runs", "1", {1, 3}), ("elsewhere", "4", {4})):
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path / place / 'mlruns.db'}")
        (run,) = runs_of(client)
        assert (run.info.status, run.data.params["epochs"]) == ("FINISHED", planned)
        assert {one.step for one in client.get_metric_history(run.info.run_id, "score/score")} == steps


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InvalidOptionError, match=r"pip install 'monai-spine\[tracking\]'"):
        MLflowTracking(str(tmp_path), {}, tmp_path / "run.txt")
