import json
import os
import time
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from monai_spine.training.run_record import RunRecord, read_record


def engines(path: Path, parent: int | None = None) -> Engine:
    """A trainer of four batches of three items, .02 s each, with a validation of two batches of two."""
    evaluator = Engine(lambda engine, batch: time.sleep(0.01))

    @evaluator.on(Events.COMPLETED)
    def _(engine: Engine) -> None:
        engine.state.metrics = {"score": 0.5, "auc": float("nan")}

    trainer = Engine(lambda engine, batch: time.sleep(0.02))
    trainer.network = torch.nn.Linear(2, 3)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([{"image": torch.zeros(2, 1)}] * 2))
    RunRecord(path=str(path), evaluator=evaluator, parent=parent).attach(trainer)
    return trainer


def test_a_line_an_epoch_says_what_was_seen_and_what_it_took(tmp_path: Path) -> None:
    engines(tmp_path / "a/epochs.jsonl").run([[{"x": 1}] * 3] * 4, max_epochs=2)
    one, two = read_record(tmp_path / "a/epochs.jsonl")
    assert (one["epoch"], two["epoch"], two["epochs"]) == (1, 2, 2)
    assert one["metrics"] == {"score": 0.5, "auc": None}
    assert (one["training"]["items"], one["validation"]["items"]) == (12, 4)
    assert one["parameters"] == 9
    for line in (one, two):
        assert line["training"]["seconds"] >= 0.08
        assert line["validation"]["seconds"] >= 0.02
        assert line["training"]["seconds"] + line["validation"]["seconds"] <= line["seconds"]
        assert line["training"]["processor_seconds"] <= line["processor_seconds"]
        assert line["peak_memory"] > 1e7


def test_a_damaged_last_line_does_not_count_and_a_later_one_of_the_same_epoch_does(tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    path.write_text("".join(json.dumps({"epoch": n, "turn": turn}) + "\n" for n, turn in ((1, 0), (2, 0), (2, 1))))
    with path.open("a") as file:
        file.write('{"epoch": 3, "tu')
    assert [(line["epoch"], line["turn"]) for line in read_record(path)] == [(1, 0), (2, 1)]
    assert read_record(tmp_path / "nothing") == []


def test_a_run_ends_when_whoever_asked_for_it_is_gone(tmp_path: Path) -> None:
    engines(tmp_path / "a", parent=os.getppid()).run([[{"x": 1}]], max_epochs=1)
    with pytest.raises(SystemExit):
        engines(tmp_path / "b", parent=os.getppid() + 1).run([[{"x": 1}]], max_epochs=1)
    assert not (tmp_path / "b").exists()
