import sys
from pathlib import Path

import pytest
from ignite.engine import Engine, Events

from monai_spine.errors import InvalidOptionError
from monai_spine.training.mlflow_tracking import EXPERIMENT, MLflowTracking


@pytest.mark.slow
def test_settings_losses_and_figures_of_a_training_are_in_one_run_of_a_local_folder(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra tracking is not installed")
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

    settings = {"learning_rate": 0.1, "mixing#levels": 0.5, "views#0#pixels": [64, 64], "long": "x" * 900}
    MLflowTracking(str(tmp_path / "runs"), settings).attach(evaluator, trainer)
    trainer.run(range(25), max_epochs=2)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlruns.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "0.1"
    assert run.data.params["mixing.levels"] == "0.5"
    assert run.data.params["views.0.pixels"] == "[64, 64]"
    assert {"loss/training", "score/score", "loss/spinal_canal_stenosis"} <= set(run.data.metrics)
    assert not any("auc" in name for name in run.data.metrics)
    scores = {one.step: one.value for one in client.get_metric_history(run.info.run_id, "score/score")}
    assert scores == pytest.approx({1: 0.4, 2: 0.3})
    assert [one.step for one in client.get_metric_history(run.info.run_id, "loss/training")] == [1, 21, 41]


@pytest.mark.slow
def test_trainings_that_start_in_the_same_second_have_runs_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="the extra tracking is not installed")
    monkeypatch.setattr("time.strftime", lambda _: "20260101-120000")
    one, other = (MLflowTracking(str(tmp_path), {}).options["run_name"] for _ in range(2))
    assert one != other  # MONAI's handler finds a run by its name


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InvalidOptionError, match=r"pip install 'monai-spine\[tracking\]'"):
        MLflowTracking(str(tmp_path), {})
