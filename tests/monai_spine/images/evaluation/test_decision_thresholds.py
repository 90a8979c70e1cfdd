from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Engine, Events

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.images.evaluation.decision_thresholds import (
    DecisionThresholds,
    chosen_thresholds,
    thresholds_beside,
    write_thresholds,
)
from monai_spine.spine import MISSING


def f1(truth: np.ndarray, decided: np.ndarray) -> float:
    return 2 * (truth & decided).sum() / (truth.sum() + decided.sum())


def youden(truth: np.ndarray, decided: np.ndarray) -> float:
    return decided[truth].mean() + (~decided[~truth]).mean() - 1


@pytest.mark.parametrize(("criterion", "merit"), [("f1", f1), ("youden", youden)])
@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_no_other_threshold_serves_better(criterion, merit, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, MISSING], p=[0.6, 0.3, 0.1], size=(30, 1))
    labels[:2, 0] = [0, 1]
    scores = np.round(rng.random((30, 1)), 1 + seed % 2)
    (chosen,) = chosen_thresholds(labels, scores, criterion)
    known = labels[:, 0] != MISSING
    truth, score = labels[known, 0] == 1, scores[known, 0]
    best = max(merit(truth, score >= least) for least in np.unique(score))
    assert merit(truth, score >= chosen) == pytest.approx(best)


def test_a_threshold_lies_halfway_to_the_next_lower_probability() -> None:
    def chosen(labels: list[int], probabilities: list[float]) -> float:
        return float(chosen_thresholds(np.array(labels)[:, None], np.array(probabilities)[:, None])[0])

    assert chosen([1, 1, 0, 0], [0.9, 0.7, 0.3, 0.2]) == pytest.approx(0.5)
    assert chosen([1, 1, 1, 0], [0.9, 0.8, 0.2, 0.3]) == pytest.approx(0.1), "below the lowest comes 0"
    assert chosen([1, 1, 0, 0], [0.9, 0.2, 0.3, 0.8]) == pytest.approx(0.85), "of equal merit, the highest"
    assert chosen([1, 1, 0, 0], [0.0, 0.0, 0.0, 0.0]) == 0


def test_a_class_without_positives_or_without_negatives_keeps_a_half() -> None:
    labels = np.array([[1, 0, MISSING], [1, 0, MISSING]])
    assert chosen_thresholds(labels, np.full((2, 3), 0.9)).tolist() == [0.5, 0.5, 0.5]


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="f1, youden"):
        chosen_thresholds(np.zeros((1, 1), int), np.zeros((1, 1)), "accuracy")  # type: ignore[arg-type]


def test_thresholds_are_read_by_name(tmp_path: Path) -> None:
    write_thresholds(tmp_path / "thresholds.json", ["a", "b"], np.array([0.1, 0.7]))
    assert thresholds_beside(tmp_path / "model.pt", ["b", "a"]).tolist() == [0.7, 0.1]


def test_thresholds_of_other_classes_or_none_are_refused(tmp_path: Path) -> None:
    weights, path = tmp_path / "model.pt", tmp_path / "thresholds.json"
    with pytest.raises(MissingInputError, match=r"no file .*thresholds\.json"):
        thresholds_beside(weights, ["a"])
    write_thresholds(path, ["a", "b"], np.array([0.1, 0.7]))
    with pytest.raises(InvalidTableError, match=r"expected thresholds of a, c, but found a, b"):
        thresholds_beside(weights, ["a", "c"])
    path.write_text("[")
    with pytest.raises(InvalidTableError, match=r"thresholds\.json is not JSON"):
        thresholds_beside(weights, ["a"])
    path.write_text("[]")
    with pytest.raises(InvalidTableError, match="expected thresholds of a, but found none"):
        thresholds_beside(weights, ["a"])


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_the_handler_writes_thresholds_of_the_best_epoch_of_several_labels(tmp_path: Path, task: str) -> None:
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]]) if task == "multilabel" else np.array([0, 1, 1, 0])
    of_epoch = {1: 0.8, 2: 0.6, 3: 0.4}
    trainer, best = Engine(lambda engine, batch: None), SimpleNamespace(best_epoch=0, path=tmp_path / "model.pt")

    def step(engine: Engine, n: int) -> dict:
        positive = of_epoch[trainer.state.epoch]
        engine.state.batch = {"index": torch.arange(4)}
        pred = np.where(np.array([[1, 0], [0, 1], [1, 1], [0, 0]]) == 1, positive, 0.0)
        return {"label": torch.tensor(labels), "pred": torch.tensor(pred)}

    evaluator = Engine(step)
    evaluator.add_event_handler(Events.COMPLETED, lambda: setattr(best, "best_epoch", min(2, trainer.state.epoch)))
    handler = DecisionThresholds(classes="ab", task=task, best_model=best)
    handler.attach(evaluator, trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    trainer.run([0], max_epochs=3)
    if task == "multilabel":
        assert thresholds_beside(tmp_path / "model.pt", "ab").tolist() == pytest.approx([0.3, 0.3])
    else:
        assert not (tmp_path / "thresholds.json").exists()
