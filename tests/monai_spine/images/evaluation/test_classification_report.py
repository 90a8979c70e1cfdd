import json

import numpy as np
import pytest

from monai_spine.images.data.datalist import Task
from monai_spine.images.evaluation.classification_report import summarise_images
from monai_spine.images.evaluation.figures import Classified


def test_the_summary_holds_figures_intervals_and_the_matrix() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    rows = rng.dirichlet([1, 1, 1], 90) + 0.3 * np.eye(3)[labels]
    classified = Classified(labels, rows / rows.sum(axis=1, keepdims=True))
    groups = [str(n // 3) for n in range(90)]
    summary = summarise_images(classified, ["a", "b", "c"], groups, Task.MULTICLASS, replicates=200)
    content = json.loads(json.dumps(summary.as_dict()))
    accuracy = content["figures"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert accuracy["value"] == pytest.approx(np.trace(content["confusion"]) / 90, abs=1e-6)
    assert (content["images"], content["groups"]) == (90, 30)
    assert content["classes"]["a"]["images"] == int((labels == 0).sum())
    assert "balanced_accuracy" in summary.to_text()


def test_intervals_widen_when_images_of_a_group_are_alike() -> None:
    rng = np.random.default_rng(1)
    right = np.repeat(rng.random(30) < 0.7, 10)  # all ten of a patient right or wrong
    labels = np.tile([0, 1], 150)
    rows = np.where((labels == 1) == right, 0.9, 0.1)
    classified = Classified(labels, np.stack([1 - rows, rows], axis=1))
    widths = [
        (one := summarise_images(classified, ["a", "b"], groups, Task.BINARY, replicates=300).figures["accuracy"]).high
        - one.low
        for groups in ([str(n) for n in range(300)], [str(n // 10) for n in range(300)])
    ]
    assert widths[1] > 2 * widths[0]


def test_several_labels_have_a_matrix_and_a_threshold_each() -> None:
    labels = np.array([[1, 0], [0, 1], [1, -1], [0, 0]])
    classified = Classified(labels, np.array([[0.9, 0.2], [0.4, 0.3], [0.6, 0.9], [0.1, 0.1]]), np.array([0.5, 0.25]))
    content = summarise_images(classified, ["a", "b"], list("wxyz"), Task.MULTILABEL, replicates=20).as_dict()
    assert content["classes"]["b"]["confusion"] == [[2, 0], [0, 1]]
    assert content["classes"]["b"]["threshold"] == 0.25
    assert content["classes"]["b"]["of"] == 3
    assert content["figures"]["exact_match"]["value"] == 1.0
    assert "confusion" not in content
