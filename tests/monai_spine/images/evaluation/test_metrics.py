import numpy as np
import pytest
import torch
from ignite.engine import Engine

from monai_spine.images.data.datalist import Task
from monai_spine.images.evaluation.figures import ClassificationFigures, classification_metrics
from monai_spine.training.engine_output import CollectedCases

CLASSES = ["a", "b", "c"]


def evaluator(label: np.ndarray, pred: np.ndarray, index: np.ndarray) -> Engine:
    """An engine that sees two images at a time."""

    def step(engine: Engine, rows: list[int]) -> dict:
        engine.state.batch = {"index": torch.tensor(index[rows])}
        return {"label": torch.tensor(label[rows]), "pred": torch.tensor(pred[rows])}

    return Engine(step)


def batches(images: int) -> list[list[int]]:
    return [list(range(n, min(n + 2, images))) for n in range(0, images, 2)]


def test_every_figure_is_one_of_the_engines_metrics() -> None:
    label, pred = np.array([0, 1, 2, 2]), np.eye(3)[[0, 1, 2, 1]]
    engine = evaluator(label, pred, np.arange(4))
    for name, metric in classification_metrics(Task.MULTICLASS, CLASSES).items():
        metric.attach(engine, name)
    metrics = engine.run(batches(4)).metrics
    assert metrics["accuracy"] == 0.75
    assert metrics["balanced_accuracy"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert metrics["sensitivity/c"] == 0.5
    assert metrics["auc/a"] == 1.0


def test_a_second_epoch_forgets_the_first() -> None:
    label, pred = np.array([0, 1, 2, 2]), np.eye(3)[[0, 1, 2, 1]]
    engine = evaluator(label, pred, np.arange(4))
    ClassificationFigures(CLASSES).attach(engine, "accuracy")
    engine.run(batches(4))
    assert engine.run(batches(4)[:1]).metrics["accuracy"] == 1.0


def test_an_image_that_a_sampler_repeats_counts_once() -> None:
    label, pred = np.array([0, 1, 1]), np.eye(3)[[0, 0, 0]]
    answers, engine = CollectedCases(), evaluator(label, pred, np.array([5, 6, 6]))
    answers.attach(engine)
    engine.run(batches(3))
    assert answers.arrays()[0].tolist() == [0, 1]


def test_images_are_in_the_order_of_their_indices() -> None:
    label, pred = np.array([0, 1, 2]), np.eye(3)
    answers, engine = CollectedCases(), evaluator(label, pred, np.array([7, 3, 5]))
    answers.attach(engine)
    engine.run(batches(3))
    labels, probabilities = answers.arrays()
    assert labels.tolist() == probabilities.argmax(axis=1).tolist() == [1, 2, 0]


def test_the_key_metric_of_several_labels_is_the_mean_auc() -> None:
    metrics = classification_metrics(Task.MULTILABEL, CLASSES)
    assert list(metrics) == ["mean_auc"] == [Task.MULTILABEL.key_metric]
    label = torch.tensor([[1, 0, -1], [0, 0, 1], [0, 1, 0]])
    metrics["mean_auc"].update((label, torch.tensor([[0.9, 0.1, 0.5], [0.1, 0.2, 0.9], [0.2, 0.3, 0.1]])))
    assert metrics["mean_auc"].compute()["mean_auc"] == 1.0


def test_a_name_that_is_no_figure_is_refused() -> None:
    engine = evaluator(np.array([0, 1]), np.eye(3)[:2], np.arange(2))
    ClassificationFigures(CLASSES).attach(engine, "acuracy")
    with pytest.raises(ValueError, match="attached as 'acuracy'"):
        engine.run(batches(2))
