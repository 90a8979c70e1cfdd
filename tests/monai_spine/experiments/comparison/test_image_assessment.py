"""Comparisons of image classifiers: what candidates are asked about, and that the figures are theirs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from monai_spine.errors import ExitCode, InvalidOptionError, InvalidTableError
from monai_spine.experiments.comparison import comparison
from monai_spine.experiments.comparison.candidate import Part, backbones
from monai_spine.experiments.comparison.comparison import assessment_of
from monai_spine.experiments.comparison.image_assessment import ImageAssessment
from monai_spine.images.data.datalist import Task, read_image_datalist
from tests.bundles.in_process import replace_steps
from tests.bundles.runs import ROOT
from tests.monai_spine.images.pictures import write_dataset

BUNDLE = ROOT / "bundles" / "image_classifier"
SETTINGS = (("pixels", "[32,32]"), ("batch_size", "6"), ("embedding#images", "0"), ("pictures#every", "99"))


def datalist_of(folder: Path, task: Task, *, test: bool = True) -> Path:
    path = write_dataset(folder, task) / "datalist.json"
    if not test:
        path.write_text(json.dumps({**json.loads(path.read_text()), "test": []}))
    return path


def write_answers(path: Path, names: list[str], classes: tuple[str, ...], answers: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(answers, columns=[f"probability_{name}" for name in classes])
    table.insert(0, "image", names)
    table.sample(frac=1.0, random_state=0).to_csv(path, index=False)
    return path


def names_of(datalist: Path, section: str, fold: int | None = None) -> list[str]:
    entries = json.loads(datalist.read_text())[section]
    return [entry["image"][0] for entry in entries if fold is None or entry["fold"] == fold]


@pytest.mark.slow
def test_backbones_are_judged_by_the_test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_steps(monkeypatch)
    datalist = datalist_of(tmp_path / "data", Task.MULTICLASS)
    candidates = backbones(BUNDLE, [], ["test_resnet", "test_convnext", "no_such_net"], SETTINGS)
    plan = comparison.Plan(BUNDLE, datalist, assessment_of(datalist, [0], None, None), epochs=2)
    found = comparison.compare(plan, candidates, tmp_path / "out", lambda _: None)
    assert found.exit_code is ExitCode.SOME_REFUSED
    table = pd.read_csv(tmp_path / "out" / "comparison.csv", index_col="name")
    assert dict(table["state"]) == {"test_resnet": "done", "test_convnext": "done", "no_such_net": "failed"}
    assert "knows no network" in table.loc["no_such_net", "reason"]
    for name in ("test_resnet", "test_convnext"):
        predicted = pd.read_csv(tmp_path / "out" / name / "fold_0" / "eval" / "predictions.csv")
        assert len(predicted) == len(names_of(datalist, "test"))
        accuracy = accuracy_score(predicted["label"], predicted["predicted"])
        assert table.loc[name, "accuracy"] == pytest.approx(accuracy, abs=1e-4)
        balanced = balanced_accuracy_score(predicted["label"], predicted["predicted"])
        assert table.loc[name, "balanced_accuracy"] == pytest.approx(balanced, abs=1e-4)
        assert table.loc[name, "parameters"] > 1e5
        assert table.loc[name, ["training_per_second", "inference_per_second", "peak_memory_mb"]].min() > 0
    assert (tmp_path / "out" / "comparison.png").is_file()


def test_without_a_test_the_folds_left_out_are_joined(tmp_path: Path) -> None:
    datalist = datalist_of(tmp_path, Task.MULTICLASS, test=False)
    assessment = ImageAssessment(datalist, [1, 0])
    rng, predicted, joined = np.random.default_rng(0), {}, []
    for fold in (1, 0):
        names = names_of(datalist, "training", fold)
        joined.append(rng.dirichlet(np.ones(3), len(names)))
        path = write_answers(tmp_path / str(fold) / "p.csv", names, assessment.classes, joined[-1])
        predicted[fold] = [(Part("one", ()), path)]
    answers = assessment.predictions(predicted)
    assert answers.probabilities == pytest.approx(np.concatenate(joined))
    labels = [r["label"] for fold in (1, 0) for r in read_image_datalist(datalist).training if r["fold"] == fold]
    row = assessment.rows({"one": answers})["one"]
    assert row["accuracy"] == pytest.approx(accuracy_score(labels, np.concatenate(joined).argmax(1)))
    assert row["behind_best"] == 0
    assert assessment.context()["evaluated_on"] == "held-out folds [1, 0]"


def test_several_labels_are_judged_by_mean_area_and_networks_of_folds_averaged(tmp_path: Path) -> None:
    datalist = datalist_of(tmp_path, Task.MULTILABEL)
    assessment = assessment_of(datalist, [0, 1], None, None)
    names, rng = names_of(datalist, "test"), np.random.default_rng(1)
    each = rng.random((2, len(names), 3))
    predicted = {}
    for fold in (0, 1):
        run = tmp_path / str(fold)
        path = write_answers(run / "eval" / "p.csv", names, ("first", "second", "third"), each[fold])
        (run / "models").mkdir()
        chosen = {"first": 0.5, "second": 0.5, "third": 0.5}
        (run / "models" / "thresholds.json").write_text(json.dumps({"thresholds": chosen}))
        predicted[fold] = [(Part("one", ()), path)]
    label = np.array([record["label"] for record in read_image_datalist(datalist).test])
    areas = []
    for n in range(3):
        known = label[:, n] >= 0
        if len(set(label[known, n])) == 2:
            areas.append(roc_auc_score(label[known, n], each.mean(axis=0)[known, n]))
    row = assessment.rows({"one": assessment.predictions(predicted)})["one"]
    assert row["mean_auc"] == pytest.approx(np.mean(areas))
    assert assessment.key == "mean_auc"


def test_another_datalist_may_be_the_test_unless_it_was_trained_on(tmp_path: Path) -> None:
    datalist = datalist_of(tmp_path / "a", Task.BINARY, test=False)
    other = datalist_of(tmp_path / "b", Task.BINARY)
    assessment = ImageAssessment(datalist, [0], other)
    assert [name for name, _ in assessment.evaluated()] == ["evaluated"]
    assert len(assessment.records) == 6
    with pytest.raises(InvalidTableError, match="groups of the test have images in training"):
        ImageAssessment(datalist, [0], datalist)
    with pytest.raises(InvalidTableError, match="expected the classes"):
        ImageAssessment(datalist, [0], datalist_of(tmp_path / "c", Task.MULTICLASS))
    with pytest.raises(InvalidOptionError, match="phantoms"):
        assessment_of(datalist, [0], None, tmp_path / "floor.json")


def test_an_answer_that_lacks_an_image_is_refused(tmp_path: Path) -> None:
    datalist = datalist_of(tmp_path, Task.BINARY)
    assessment = ImageAssessment(datalist, [0])
    names = names_of(datalist, "test")[1:]
    path = write_answers(tmp_path / "p.csv", names, assessment.classes, np.full((len(names), 2), 0.5))
    with pytest.raises(InvalidTableError, match="lacks 1 of 6 images"):
        assessment.predictions({0: [(Part("one", ()), path)]})
