"""Handlers of figures that people look at, over engines that answer at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from PIL import Image
from sklearn.metrics import precision_recall_curve
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter

from monai_spine.images.evaluation.figures import ClassificationCharts
from monai_spine.scoring.confusion import Confusion, confusion_picture
from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.spine import FINDINGS, MISSING
from monai_spine.training.best_model import BestModel
from monai_spine.training.tensorboard.log import HyperParameters
from monai_spine.training.tensorboard.review import (
    ConfusionPicture,
    PrecisionRecall,
    grading_confusions,
    grading_curves,
)


def evaluator(label: np.ndarray, pred: np.ndarray) -> Engine:
    def step(engine: Engine, rows: list[int]) -> dict:
        engine.state.batch = {"index": torch.tensor(rows)}
        return {"label": torch.tensor(label[rows]), "pred": torch.tensor(pred[rows])}

    return Engine(step)


def studies(seed: int = 0, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, MISSING], p=[0.5, 0.2, 0.2, 0.1], size=(count, len(FINDINGS)))
    return labels, rng.dirichlet([1, 1, 1], size=labels.shape)


def test_curves_of_grades_are_of_natural_probabilities_of_known_labels() -> None:
    labels, probabilities = studies()
    curve = grading_curves(labels, probabilities)["severe/spinal_canal_stenosis"]
    own = [n for n, finding in enumerate(FINDINGS) if finding.condition.value == "spinal_canal_stenosis"]
    natural = probabilities / WEIGHTS
    natural /= natural.sum(axis=-1, keepdims=True)
    known = labels[:, own] != MISSING
    assert (curve.positive == (labels[:, own][known] == 2)).all()
    assert np.allclose(curve.score, natural[:, own][known][:, 2])


def test_matrices_of_conditions_hold_every_known_label_once() -> None:
    labels, probabilities = studies()
    *conditions, every = grading_confusions(labels, probabilities)
    assert len(conditions) == 5
    assert sum(one.counts.sum() for one in conditions) == every.counts.sum() == (labels != MISSING).sum()
    assert (every.counts.sum(axis=1) == [(labels == grade).sum() for grade in range(3)]).all()


def test_a_curve_in_the_log_is_scikit_learns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 50)
    rows = np.round(np.clip(rng.normal(0.3 + 0.4 * label, 0.2), 0, 1), 1)
    pred = np.stack([1 - rows, rows], axis=1)
    engine = evaluator(label, pred)
    with SummaryWriter(str(tmp_path)) as writer:
        PrecisionRecall(writer=writer, curves=ClassificationCharts(["a", "b"]).curves).attach(engine)
        engine.run([[*range(30)], [*range(30, 50)]])
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.PluginTagToContent("pr_curves")) == {"class/a", "class/b"}
    tensor = events.Tensors("class/b")[0].tensor_proto
    held = (
        np.array(tensor.float_val).reshape(6, -1)
        if tensor.float_val
        else np.frombuffer(tensor.tensor_content, np.float32)
    )
    precision, recall = held.reshape(6, -1)[4:]
    expected = {(round(r, 4), round(p, 4)) for p, r, _ in zip(*precision_recall_curve(label, rows), strict=False)}
    drawn = {(round(float(r), 4), round(float(p), 4)) for p, r in zip(precision, recall, strict=True) if r > 0}
    assert expected >= drawn
    assert len(drawn) > 5


def test_a_class_without_both_kinds_has_no_curve() -> None:
    curves = ClassificationCharts(["a", "b"]).curves(np.array([[1, 0], [1, 1], [MISSING, 0]]), np.full((3, 2), 0.5))
    assert set(curves) == {"class/b"}
    assert len(curves["class/b"].score) == 3


def test_the_matrix_goes_to_the_log_and_to_a_file(tmp_path: Path) -> None:
    label, pred = np.array([0, 1, 1, 2]), np.eye(3)[[0, 1, 2, 2]]
    engine = evaluator(label, pred)
    with SummaryWriter(str(tmp_path / "log")) as writer:
        review = ClassificationCharts(["a", "b", "c"])
        ConfusionPicture(confusions=review.confusions, writer=writer, output_dir=str(tmp_path)).attach(engine)
        engine.run([[0, 1], [2, 3]])
    assert "confusion" in EventAccumulator(str(tmp_path / "log")).Reload().Tags()["images"]
    assert min(Image.open(tmp_path / "confusion.png").size) > 200
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("classes", [2, 9])
def test_a_cell_is_the_darker_the_greater_its_share_of_the_row(classes: int) -> None:
    counts = np.eye(classes, dtype=np.int64) * 5
    counts[0] = counts[0][::-1]
    names = tuple(f"class {n}" for n in range(classes))
    picture = confusion_picture([Confusion("x", names, counts)]).astype(int)
    dark = (picture[..., 2] - picture[..., 0] > 40) & (picture.sum(axis=-1) < 300)
    rows, columns = np.nonzero(dark)
    assert dark.any()
    top = columns[rows < rows.min() + (rows.max() - rows.min()) / classes / 2]
    assert top.mean() > picture.shape[1] / 2


def trained(tmp_path: Path, scores: list[float], settings: dict) -> tuple[EventAccumulator, list[Path]]:
    network = torch.nn.Linear(1, 1)
    best = BestModel(network=network, path=str(tmp_path / "model.pt"))
    trainer, validator = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)
    with SummaryWriter(str(tmp_path / "log")) as writer:
        best.attach(validator, trainer)
        shown = HyperParameters(writer=writer, settings=settings, metrics=["score", "auc"], best_model=best)
        shown.attach(validator, trainer)

        @trainer.on(Events.EPOCH_COMPLETED)
        def validate() -> None:
            score = scores[trainer.state.epoch - 1]
            validator.state.metrics = {"score": score, "auc": 1 - score, "other": 5.0}
            validator.fire_event(Events.COMPLETED)

        trainer.run([0], max_epochs=len(scores))
    return EventAccumulator(str(tmp_path / "log")).Reload(), list((tmp_path / "log").iterdir())


def test_settings_stand_beside_the_figures_of_the_epoch_that_is_kept(tmp_path: Path) -> None:
    events, files = trained(tmp_path, [0.9, 0.4, 0.7], {"rate": 0.1, "backbones": ["a", "b"], "amp": True})
    assert {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]} == pytest.approx(
        {"kept/score": 0.4, "kept/auc": 0.6}
    )
    assert len(files) == 1  # no second run
    contents = events.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(contents["_hparams_/session_start_info"]).session_start_info.hparams
    assert start["rate"].number_value == 0.1
    assert start["backbones"].string_value == "['a', 'b']"
    assert start["amp"].string_value == "True"


def test_a_figure_that_is_not_a_number_is_left_out(tmp_path: Path) -> None:
    events, _ = trained(tmp_path, [float("nan")], {"rate": 0.1})
    assert events.Tags()["scalars"] == []
