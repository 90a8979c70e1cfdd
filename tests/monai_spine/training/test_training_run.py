"""A whole training of engines that do nothing: what it leaves, and how it goes on after a stop."""

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from monai_spine.training.best_model import BestModel
from monai_spine.training.schedules import Schedule
from monai_spine.training.tensorboard.log import TensorBoard
from monai_spine.training.training_run import TrainingRun
from monai_spine.training.weight_average import WeightAverage


class Listener:
    """Counts how often it was attached, and the files that it found."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, None

    def attach(self, evaluator: Engine, trainer: Engine) -> None:
        self.files = sorted(file.name for file in self.folder.glob("*.pt"))


def run_of(folder: Path, **options: object) -> TrainingRun:
    """Three epochs of two iterations, which add random numbers to the one weight of a network."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def step(engine: Engine, batch: int) -> dict:
        network.weight.data.add_(torch.rand(()))
        return {"loss": torch.tensor(float(batch))}

    trainer, evaluator = Engine(step), Engine(lambda engine, batch: None)
    trainer.state.max_epochs = 3

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        evaluator.state.metrics = {"score": 1.0 / trainer.state.epoch}
        evaluator.fire_event(Events.COMPLETED)

    run = TrainingRun(
        trainer=trainer,
        evaluator=evaluator,
        network=network,
        optimizer=optimizer,
        lr_scheduler=Schedule(optimizer, course="cosine", epochs=3, steps=2),
        best_model=BestModel(network=network, path=str(folder / "model.pt")),
        tensorboard=TensorBoard(str(folder / "log")),
        **options,  # type: ignore[arg-type]
    )
    begin = trainer.run
    trainer.run = lambda: begin([1, 2], max_epochs=3)  # type: ignore[method-assign] # MONAI's engines hold their data
    return run


def stop() -> None:
    raise KeyError("stopped by a test")


def state_of(folder: Path) -> dict:
    return torch.load(folder / "latest.pt", weights_only=True)


def test_a_run_leaves_the_best_weights_and_its_state(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.run()
    state = state_of(tmp_path)
    assert state["progress"] == {"epoch": 3, "max_epochs": 3, "ended": True}
    assert set(state["parts"]) == {"network", "optimizer", "lr_scheduler", "best_model"}
    assert torch.equal(torch.load(tmp_path / "model.pt", weights_only=True)["weight"], run.best_model.network.weight)


def test_an_average_is_part_of_the_state_unless_it_has_no_momentum(tmp_path: Path) -> None:
    for momentum, kept in ((0.1, True), (0.0, False)):
        network = torch.nn.Linear(1, 1)
        run_of(tmp_path / str(momentum), average=WeightAverage(network, momentum)).run()
        assert ("ema_network" in state_of(tmp_path / str(momentum))["parts"]) is kept


def test_the_same_seed_draws_the_same_batches(tmp_path: Path) -> None:
    for name in "ab":
        run_of(tmp_path / name, seed=3).run()
    one, other = (state_of(tmp_path / name)["parts"]["network"]["weight"] for name in "ab")
    assert torch.equal(one, other)


def test_listeners_come_after_an_earlier_runs_files_have_moved_aside(tmp_path: Path) -> None:
    run_of(tmp_path).run()
    listener = Listener(tmp_path)
    run_of(tmp_path, listeners=[None, listener]).run()
    assert listener.files == []


def test_a_resumed_run_goes_on_after_the_last_finished_epoch(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), stop)
    with pytest.raises(KeyError):
        run.run()
    assert state_of(tmp_path)["progress"]["epoch"] == 2
    again = run_of(tmp_path, resume=True)
    again.trainer.state.epoch_length = 2
    again.run()
    assert state_of(tmp_path)["progress"]["epoch"] == 3
    assert state_of(tmp_path)["parts"]["lr_scheduler"]["done"] == 0  # nothing steps it here
    assert again.trainer.state.iteration == 6
