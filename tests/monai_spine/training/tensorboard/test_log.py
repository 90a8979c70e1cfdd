"""A run's log is made when something is written, by the first process alone."""

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_spine.training.tensorboard.log import TensorBoard, tag_of


def trained(folder: Path, epochs: int = 2) -> TensorBoard:
    """A log of a training with two iterations an epoch, whose loss is the batch's number."""
    log = TensorBoard(str(folder))
    optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5, "name": "head"}])
    trainer = Engine(lambda engine, batch: [{"loss": torch.tensor(batch)}])
    evaluator = Engine(lambda engine, batch: None)
    log.attach(trainer, evaluator, optimizer, rates_at=Events.EPOCH_COMPLETED)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        evaluator.state.epoch = trainer.state.epoch
        evaluator.state.metrics = {"score": 0.25, "table": [1, 2]}
        evaluator.fire_event(Events.EPOCH_COMPLETED)

    trainer.run([3.0, 4.0], max_epochs=epochs)
    log.close()
    return log


def test_losses_rates_and_figures_are_logged(tmp_path: Path) -> None:
    trained(tmp_path)
    (run,) = tmp_path.iterdir()
    events = EventAccumulator(str(run)).Reload()
    seen = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert seen == {
        "loss/training": [(1, 3.0), (2, 4.0), (3, 3.0), (4, 4.0)],
        "lr/head": [(1, 0.5), (2, 0.5)],
        "score/score": [(1, 0.25), (2, 0.25)],
    }


def test_what_writes_nothing_leaves_no_folder(tmp_path: Path) -> None:
    TensorBoard(str(tmp_path / "log")).close()
    assert not (tmp_path / "log").exists()


def test_other_processes_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ignite.distributed.get_rank", lambda: 1)
    log = trained(tmp_path / "log")
    log.add_scalar("more", 1.0, 1)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("figure", "tag"),
    [
        ("score_of_prior", "score/of_prior"),
        ("accuracy", "score/accuracy"),
        ("loss_spinal_canal_stenosis", "loss/spinal_canal_stenosis"),
        ("auc_severe_spinal_canal_stenosis", "auc/severe_spinal_canal_stenosis"),
        ("mean_auc", "auc/mean"),
        ("auc/pneumonia", "auc/pneumonia"),
        ("sensitivity/no_loss", "sensitivity/no_loss"),
    ],
)
def test_figures_are_grouped_by_what_they_measure(figure: str, tag: str) -> None:
    assert tag_of(figure) == tag
