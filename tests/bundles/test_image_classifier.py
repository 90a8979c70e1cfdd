"""The image classifier's shipped configs, run as they are on small pictures, for its three tasks."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import timm
import torch
from monai.bundle import ckpt_export, create_workflow, load, onnx_export
from sklearn.datasets import load_digits
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_spine.bundle.errors import explanation
from monai_spine.images.data.datalist import Task
from monai_spine.images.network.model_description import read_classifier
from tests.bundles.runs import ROOT, stop
from tests.monai_spine.images.pictures import write_dataset

BUNDLE = ROOT / "bundles" / "image_classifier"
CONFIGS = BUNDLE / "configs"
PRESETS = sorted((CONFIGS / "presets").glob("*.json"))
SMALL = {"backbone": "test_resnet", "pixels": [24, 24], "batch_size": 6, "epochs": 2, "learning_rate": 0.003}
NO_LOADER = {"num_workers": 0}  # whose process would take a third of the time
NO_PICTURES = {"embedding#images": 0, "pictures#every": 99}
TASKS = list(Task)


def files(*names: str) -> list[str]:
    return [str(CONFIGS / f"{name}.json") for name in names]


def run(*names: str, run_id: str, stop_in_epoch: int | None = None, **changes: object):
    kind = "infer" if run_id == "inference" else "train"
    changes = changes if kind == "infer" else {**NO_LOADER, **changes}
    workflow = create_workflow(config_file=files(*names), workflow_type=kind, run_id=run_id, **changes)
    if stop_in_epoch is not None:
        trainer = workflow.parser.get_parsed_content("train#trainer")
        trainer.add_event_handler("EPOCH_STARTED", lambda: trainer.state.epoch == stop_in_epoch and stop())
    try:
        workflow.run()
    finally:
        workflow.finalize()
    return workflow.parser


def refusal(*names: str, **settings: object) -> str:
    with pytest.raises(Exception) as caught:
        run(*names, **settings)
    said = explanation(caught.value)
    assert said is not None, caught.value
    return said


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[Task, Path]:
    return {task: write_dataset(tmp_path_factory.mktemp(task.value), task) for task in TASKS}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: dict[Task, Path]) -> dict[Task, Path]:
    roots = {task: tmp_path_factory.mktemp("bundle") for task in TASKS}
    for task, root in roots.items():
        settings = {**SMALL, "ema#momentum": 0.1} if task is Task.BINARY else SMALL
        run("train", run_id="training", bundle_root=str(root), dataset_dir=str(data[task]), **settings)
    return roots


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_evaluation_and_inference_say_the_same_of_an_image(
    task: Task, trained: dict[Task, Path], data: dict[Task, Path], tmp_path: Path
) -> None:
    where = {"bundle_root": str(trained[task]), "dataset_dir": str(data[task])}
    run("train", "evaluate", run_id="evaluation", **where, output_dir=str(tmp_path / "a"), replicates=20)
    best = torch.load(trained[task] / "models/latest.pt", weights_only=True)["parts"]["best_model"]["best"]
    one = pd.read_csv(tmp_path / "a" / "predictions.csv", index_col="image")
    assert len(one) == 12
    assert {"label", "predicted", "probability_first", "probability_second"} <= set(one.columns)
    probabilities = one.filter(like="probability_")
    if task is not Task.MULTILABEL:
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        names = [f"probability_{name}" for name in one["predicted"]]
        assert names == list(probabilities.idxmax(axis=1))
        right = (one["label"] == one["predicted"]).groupby(one["label"]).mean()
        assert right.mean() == pytest.approx(best, abs=1e-6)
    run("inference", run_id="inference", bundle_root=str(trained[task]), output_dir=str(tmp_path / "b"),
        dataset_dir=str(data[task] / "pictures"))  # fmt: skip
    other = pd.read_csv(tmp_path / "b" / "predictions.csv", index_col="image")
    assert len(other) == 24
    other.index = [f"pictures/{name}" for name in other.index]
    assert np.allclose(probabilities, other.loc[one.index].filter(like="probability_"), atol=2e-5)
    assert list(one["predicted"].fillna("")) == list(other.loc[one.index, "predicted"].fillna(""))


@pytest.mark.slow
def test_the_test_section_is_evaluated_where_that_is_asked_for(
    trained: dict[Task, Path], data: dict[Task, Path], tmp_path: Path
) -> None:
    where = {"bundle_root": str(trained[Task.MULTICLASS]), "dataset_dir": str(data[Task.MULTICLASS])}
    run("train", "evaluate", run_id="evaluation", **where, section="test", output_dir=str(tmp_path), replicates=20)
    assert list(pd.read_csv(tmp_path / "predictions.csv")["image"]) == [f"test/{n:03d}.png" for n in range(6)]


@pytest.mark.slow
def test_training_leaves_weights_their_description_and_figures(trained: dict[Task, Path]) -> None:
    root = trained[Task.MULTICLASS]
    assert {"model.pt", "model.json", "latest.pt"} <= {file.name for file in (root / "models").iterdir()}
    said = json.loads((root / "models/model.json").read_text())
    assert said["settings"]["classes"] == ["first", "second", "third"]
    (folder,) = (root / "eval" / "tensorboard").iterdir()
    tags = set(EventAccumulator(str(folder)).Reload().Tags()["scalars"])
    assert {"loss/training", "score/balanced_accuracy", "auc/mean", "lr/backbone", "lr/head"} <= tags


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_training_leaves_figures_to_look_at(task: Task, trained: dict[Task, Path]) -> None:
    (folder,) = (trained[task] / "eval" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    tags = events.Tags()
    assert {"confusion", "surest"} <= set(tags["images"]) <= {"confusion", "surest", "most_confused"}
    assert {"class/first", "class/second"} <= set(events.PluginTagToContent("pr_curves"))
    best = torch.load(trained[task] / "models/latest.pt", weights_only=True)["parts"]["best_model"]["best"]
    key = "mean_auc" if task is Task.MULTILABEL else "balanced_accuracy"
    assert events.Scalars(f"kept/{key}")[0].value == pytest.approx(best)
    assert any("session_start" in tag for tag in events.PluginTagToContent("hparams"))
    (points,) = folder.glob("*/features/tensors.tsv")
    assert len(points.read_text().splitlines()) == 12
    assert len([file for file in folder.iterdir() if file.name.startswith("events")]) == 1


@pytest.mark.slow
def test_thresholds_of_several_labels_lie_beside_the_weights(trained: dict[Task, Path]) -> None:
    classes = json.loads((trained[Task.MULTILABEL] / "models/model.json").read_text())["settings"]["classes"]
    held = json.loads((trained[Task.MULTILABEL] / "models/thresholds.json").read_text())["thresholds"]
    assert list(held) == classes
    assert all(0 <= value <= 1 for value in held.values())
    assert not (trained[Task.MULTICLASS] / "models/thresholds.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", [Task.MULTICLASS, Task.MULTILABEL])
def test_evaluation_leaves_figures_with_intervals_and_pictures(
    task: Task, trained: dict[Task, Path], data: dict[Task, Path], tmp_path: Path
) -> None:
    where = {"bundle_root": str(trained[task]), "dataset_dir": str(data[task]), "output_dir": str(tmp_path)}
    run("train", "evaluate", run_id="evaluation", **where, replicates=20)
    found = json.loads((tmp_path / "metrics.json").read_text())
    best = torch.load(trained[task] / "models/latest.pt", weights_only=True)["parts"]["best_model"]["best"]
    key = found["figures"]["mean_auc" if task is Task.MULTILABEL else "balanced_accuracy"]
    assert key["value"] == pytest.approx(best, abs=1e-5)
    assert key["low"] <= key["value"] <= key["high"]
    pictures = {file.name for file in tmp_path.glob("*.png")}
    assert {"confusion.png"} < pictures <= {"confusion.png", "most_confused.png", "surest.png"}
    if task is Task.MULTILABEL:
        chosen = json.loads((trained[task] / "models/thresholds.json").read_text())["thresholds"]
        assert {name: one["threshold"] for name, one in found["classes"].items()} == pytest.approx(chosen)


@pytest.mark.slow
def test_overlays_are_written_where_they_are_asked_for(
    trained: dict[Task, Path], data: dict[Task, Path], tmp_path: Path
) -> None:
    where = {"bundle_root": str(trained[Task.BINARY]), "dataset_dir": str(data[Task.BINARY] / "pictures")}
    run("inference", run_id="inference", **where, output_dir=str(tmp_path), overlays=True)
    images = pd.read_csv(tmp_path / "predictions.csv")["image"]
    assert {str(file.relative_to(tmp_path / "activation")) for file in (tmp_path / "activation").rglob("*.png")} == {
        f"{image}.png" for image in images
    }


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_trains_for_two_iterations(preset: Path, data: dict[Task, Path], tmp_path: Path) -> None:
    """With timm's tiny network of the preset's family: the shapes of the large ones have a test of their own."""
    config = json.loads(preset.read_text())
    assert timm.is_model_pretrained(config["backbone"].split(".")[0])
    assert timm.get_pretrained_cfg(config["backbone"]).tag == config["backbone"].partition(".")[2]
    families = {"vit": "test_vit", "convnext": "test_convnext", "tf": "test_efficientnet"}
    tiny = families.get(config["backbone"].split("_")[0], "test_resnet")
    torch.save(timm.create_model(tiny).state_dict(), tmp_path / "w.pt")
    where = {"bundle_root": str(tmp_path), "pretrained": str(tmp_path / "w.pt"), "embedding#images": 0}
    where["dataset_dir"] = str(data[Task.MULTILABEL if preset.stem == "chest_xray" else Task.MULTICLASS])
    small = {
        "backbone": tiny,
        "pixels": [32, 32],
        "batch_size": 6,
        "epochs": 1,
        "layers#unfreeze": None,
        "pictures#every": 9,
    }
    parser = run("train", f"presets/{preset.stem}", run_id="training", **where, **small)
    assert parser.get_parsed_content("train#trainer").state.iteration == 2
    assert (tmp_path / "models/latest.pt").is_file()


@pytest.mark.parametrize(("name", "kind"), [("train", "train"), ("inference", "infer")])
def test_the_workflow_has_every_property_monai_asks_for(name: str, kind: str, data: dict[Task, Path]) -> None:
    workflow = create_workflow(config_file=files(name), workflow_type=kind, dataset_dir=str(data[Task.BINARY]))
    assert workflow.check_properties() == []


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_trained_network_is_loaded_and_exported(task: Task, trained: dict[Task, Path], tmp_path: Path) -> None:
    folder = tmp_path / "image_classifier"
    folder.mkdir()
    for name in ("configs", "LICENSE"):
        (folder / name).symlink_to(BUNDLE / name)
    (folder / "models").symlink_to(trained[task] / "models")
    described = read_classifier(trained[task] / "models/model.pt")
    shape = {"backbone": described.backbone, "pixels": described.pixels, "classes": len(described.classes)}
    where = {"name": "image_classifier", "bundle_dir": str(tmp_path), "source": "github"}
    network = load(**where, workflow_type="inference", net_override=shape).eval()
    weights = torch.load(trained[task] / "models/model.pt", weights_only=True)
    assert described.network().state_dict().keys() == weights.keys()
    assert all(torch.equal(network.state_dict()[name], value) for name, value in weights.items())
    image = torch.rand(1, 3, 24, 24)
    expected = network(image).detach()
    assert expected.shape == (1, 2 if task is Task.BINARY else 3)
    given = {"net_id": "network_def", "ckpt_file": str(trained[task] / "models/model.pt"), "device": "cpu"}
    given.update(meta_file=str(CONFIGS / "metadata.json"), config_file=files("inference")[0], bundle_root=str(folder))
    given.update(input_shape=[1, 3, 24, 24])
    ckpt_export(filepath=str(tmp_path / "m.ts"), use_trace=True, **given)
    assert torch.allclose(torch.jit.load(tmp_path / "m.ts")(image), expected, atol=1e-4)
    if task is Task.BINARY:
        onnx_export(filepath=str(tmp_path / "m.onnx"), **given)
        session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
        (answer,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        assert np.allclose(answer, expected.numpy(), atol=1e-3)


@pytest.mark.slow
def test_unreadable_images_are_refused_with_a_reason_and_exit_code_three(
    trained: dict[Task, Path], data: dict[Task, Path], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    good = next((data[Task.BINARY] / "pictures").iterdir())
    (tmp_path / "in/good.png").write_bytes(good.read_bytes())
    (tmp_path / "in/empty.png").write_bytes(b"")
    where = {"bundle_root": str(trained[Task.BINARY]), "dataset_dir": str(tmp_path / "in")}
    with pytest.raises(SystemExit) as caught:
        run("inference", run_id="inference", **where, output_dir=str(tmp_path / "out"))
    assert caught.value.code == 3
    assert list(pd.read_csv(tmp_path / "out/predictions.csv")["image"]) == ["good.png"]
    refused = pd.read_csv(tmp_path / "out/refused.csv")
    assert list(refused["image"]) == ["empty.png"]
    assert "empty" in refused["reason"][0]


@pytest.mark.slow
def test_what_a_user_can_mend_is_said_in_a_sentence(
    trained: dict[Task, Path], data: dict[Task, Path], tmp_path: Path
) -> None:
    three, two = str(data[Task.MULTICLASS]), str(trained[Task.BINARY])
    said = refusal("train", "evaluate", run_id="evaluation", bundle_root=two, dataset_dir=three)
    assert "tells 2 classes apart" in said
    assert "datalist has 3 (multiclass: first, second, third)" in said
    given = {"run_id": "training", "bundle_root": str(tmp_path), "dataset_dir": three, **SMALL}
    weights = str(trained[Task.BINARY] / "models/model.pt")
    assert "2 classes, but 3" in refusal("train", **given, weights=weights)
    assert "would stay random" in refusal("train", **given, **{"layers#train_layers": "frozen"})
    assert "medical_grey" in refusal("train", **given, **{"augmentation#preset": "strong"})
    assert "there is no" in refusal("inference", run_id="inference", bundle_root=two, dataset_dir=str(tmp_path / "x"))
    assert "train first" in refusal("inference", run_id="inference", bundle_root=str(tmp_path), dataset_dir=three)
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_features_computed_once_end_in_the_same_head(data: dict[Task, Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pt")
    given = {"dataset_dir": str(data[Task.MULTICLASS]), "pretrained": str(tmp_path / "w.pt"), **SMALL}
    given |= {"layers#train_layers": "frozen", "augmentation#preset": "none", **NO_PICTURES}
    learnt = []
    for once in (True, False):
        root = tmp_path / str(once)
        parser = run("train", run_id="training", bundle_root=str(root), **given, **{"train#features#once": once})
        assert (parser.get_parsed_content("train#features") is not None) is once
        learnt.append(torch.load(root / "models/latest.pt", weights_only=True)["parts"]["network"])
    assert all(torch.allclose(learnt[0][name].float(), learnt[1][name].float(), atol=1e-5) for name in learnt[0])


@pytest.mark.slow
def test_digits_are_learnt(tmp_path: Path) -> None:
    """Folders, datalist, training and evaluation, on scikit-learn's digits."""
    from PIL import Image

    from data_prep.cli import app

    digits = load_digits()
    for n, (picture, label) in enumerate(zip(digits.images[:1000], digits.target[:1000], strict=True)):
        folder = tmp_path / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 15.9).astype(np.uint8)).save(folder / f"{n}.png")
    arguments = ["images", "folders", str(tmp_path / "digits"), str(tmp_path / "data"), "--quiet"]
    app(arguments, standalone_mode=False)
    given = {"dataset_dir": str(tmp_path / "data"), "bundle_root": str(tmp_path / "run")}
    settings = {**SMALL, "pixels": [16, 16], "batch_size": 16, "epochs": 4, **NO_PICTURES}
    settings |= {"form#channels": 1, "augmentation#preset": "none"}
    run("train", run_id="training", **given, **settings)
    run("train", "evaluate", run_id="evaluation", **given, replicates=20)
    table = pd.read_csv(tmp_path / "run/eval/predictions.csv")
    assert (table["label"] == table["predicted"]).mean() >= 0.95, "of 200 digits"
