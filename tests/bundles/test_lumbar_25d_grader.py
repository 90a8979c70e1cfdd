"""The grader's shipped configs, run as they are, shrunk to what a test can afford."""

import functools
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import create_workflow, load
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from monai_spine.bundle.errors import explanation
from monai_spine.spine import TARGETS, SeriesType
from monai_spine.training.tensorboard.review import ConfusionPicture
from tests.bundles import runs
from tests.bundles.runs import ROOT
from tests.cohorts import place_points, write_cohort, write_volume

CONFIGS = ROOT / "bundles" / "lumbar_25d_grader" / "configs"
PRESETS = sorted((CONFIGS / "presets").glob("*.json"))
MIXED = ("levels", "halves", "mixup", "cutmix", "manifold_mixup")
SLICES = {"views#0#slices": 2, "views#1#slices": 3, "views#2#slices": 1}
NETWORK = {"pixels": [32, 32], "network_def#features": 16, **SLICES}
SMALL = {**NETWORK, "batch_size": 2, "epochs": 2}


files = functools.partial(runs.files, configs=CONFIGS)
run = functools.partial(runs.run, configs=CONFIGS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of noise with points of a straight spine."""
    path = place_points(write_cohort(tmp_path_factory.mktemp("data"), studies=6))
    content = json.loads(path.read_text())
    content["test"] = content["training"][:2]
    path.write_text(json.dumps(content))
    return path.parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    root = tmp_path_factory.mktemp("bundle")
    run("train", run_id="training", bundle_root=str(root), dataset_dir=str(data), **SMALL)
    return root


@pytest.mark.slow
def test_training_leaves_weights_state_figures_and_pictures(trained: Path) -> None:
    assert {file.name for file in (trained / "models").iterdir()} == {"model.pt", "model.json", "latest.pt"}
    (folder,) = (trained / "eval" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert {"loss/training", "score/score", "score/of_prior", "lr/head", "lr/backbone"} <= set(events.Tags()["scalars"])
    assert {"best/0", "worst/0", "confusion"} <= set(events.Tags()["images"])
    curves = set(events.PluginTagToContent("pr_curves"))
    assert {"severe/spinal_canal_stenosis", "moderate_or_worse/left_subarticular_stenosis"} <= curves
    best = torch.load(trained / "models/latest.pt", weights_only=True)["parts"]["best_model"]["best"]
    assert events.Scalars("kept/score")[0].value == pytest.approx(best)
    (start,) = (content for tag, content in events.PluginTagToContent("hparams").items() if "start" in tag)
    settings = HParamsPluginData.FromString(start).session_start_info.hparams
    assert settings["learning_rate"].number_value == 0.0015
    assert settings["backbones"].string_value == "['test_resnet']"


@pytest.mark.slow
def test_the_kept_weights_are_the_moving_average(trained: Path) -> None:
    parts = torch.load(trained / "models/latest.pt", weights_only=True)["parts"]
    assert not torch.equal(parts["network"]["weight"], parts["ema_network"]["weight"])
    kept = torch.load(trained / "models/model.pt", weights_only=True)
    if parts["best_model"]["best_epoch"] == 2:
        assert torch.equal(kept["weight"], parts["ema_network"]["weight"])


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(tmp_path: Path, data: Path, trained: Path) -> None:
    run("train", run_id="training", bundle_root=str(tmp_path), dataset_dir=str(data), **SMALL)
    one, other = (torch.load(root / "models/latest.pt", weights_only=True)["parts"] for root in (trained, tmp_path))
    for name, tensor in one["network"].items():
        assert torch.allclose(tensor, other["network"][name], atol=1e-5), name


@pytest.mark.slow
def test_training_goes_on_without_what_cannot_be_used(
    tmp_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((data / "datalist.json").read_text())
    for entry in content["training"]:
        entry.update({kind.value: [str(data / file) for file in entry[kind.value]] for kind in SeriesType})
    spoilt, bare = content["training"][0], content["training"][1]
    volume = nib.load(spoilt["axial_t2"][0])
    voxels = np.asarray(volume.dataobj, dtype=np.float32)
    voxels[2, 2, 2] = np.nan
    spoilt["axial_t2"] = [str(write_volume(tmp_path / "axial.nii.gz", voxels, volume.affine))]
    bare.update({kind.value: [] for kind in SeriesType})
    (tmp_path / "datalist.json").write_text(json.dumps({**content, "test": []}))
    run("train", run_id="training", bundle_root=str(tmp_path), dataset_dir=str(tmp_path), **{**SMALL, "epochs": 1})
    assert (tmp_path / "models" / "model.pt").is_file()
    said = "".join(capfd.readouterr())
    assert said.count("axial.nii.gz") == 1
    assert f"without any volume: {bare['study_id']}" in said


@pytest.mark.slow
def test_evaluation_and_inference_say_the_same_of_a_study(trained: Path, data: Path, tmp_path: Path) -> None:
    where = {"bundle_root": str(trained), "dataset_dir": str(data)}
    run("train", "evaluate", run_id="evaluation", **where, output_dir=str(tmp_path / "a"), batch_size=2)
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())
    best = torch.load(trained / "models/latest.pt", weights_only=True)["parts"]["best_model"]["best"]
    assert metrics["score"] == pytest.approx(best, abs=1e-5)
    assert (tmp_path / "a" / "confusion.png").is_file()
    where = {"bundle_root": str(trained), "dataset_dir": str(data / "datalist.json"), "section": "training"}
    run("inference", run_id="inference", **where, output_dir=str(tmp_path / "b"))  # the weights bring their settings
    one = pd.read_csv(tmp_path / "a" / "predictions.csv", index_col=0)
    other = pd.read_csv(tmp_path / "b" / "predictions.csv", index_col=0)
    assert len(other) == 6 * len(TARGETS)
    assert np.allclose(one, other.loc[one.index], atol=2e-3)  # the cache of training has 8 bits


@pytest.mark.slow
def test_weights_are_not_used_with_other_settings_than_they_were_trained_with(trained: Path, data: Path) -> None:
    where = {"bundle_root": str(trained), "dataset_dir": str(data)}
    for names, run_id in ((("train", "evaluate"), "evaluation"), (("inference",), "inference")):
        with pytest.raises(RuntimeError) as caught:
            run(*names, run_id=run_id, **where, pixels=[48, 48])
        expected = "model.pt was trained with pixels = [32, 32], but [48, 48] is asked for"
        assert expected in str(explanation(caught.value))


def test_training_and_inference_share_what_makes_the_answer() -> None:
    train, inference = (json.loads(Path(file).read_text()) for file in files("train", "inference"))
    keys = [key for key in train if key in inference and key not in {"imports", "initialize", "run", "num_workers"}]
    assert {"views", "pixels", "network_def", "conditions", "stacking"} <= set(keys)
    assert train["validate"]["postprocessing"] == inference["postprocessing"]
    empty = ["mixing", "layers", "start", "loss", "optimizer", "ema", "train", "best_model"]  # presets may set these
    assert [key for key in keys if train[key] != inference[key]] == empty


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_trains(
    preset: Path, data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConfusionPicture, "attach", lambda *_: None)  # takes long, and no preset changes it
    config = json.loads(preset.read_text())
    side = 56 if "patch14" in str(config) else 32
    changes = {**SLICES, "pixels": [side, side], "batch_size": 2, "epochs": 1, "train#trainer#accumulation_steps": 1}
    where = {"bundle_root": str(tmp_path), "dataset_dir": str(data), "pretrained": None}
    if "layers#train_layers" in config:  # frozen layers need weights
        changes |= {**NETWORK, "weights": str(trained / "models/model.pt")}
    three = "$datalist.split_folds(datalist.read_datalist(@datalist)[:3], @fold)"
    names = ("train", f"presets/{preset.stem}")
    run(*names, run_id="training", splits=three, **where, **changes)
    assert {file.name for file in (tmp_path / "models").iterdir()} == {"latest.pt", "model.json", "model.pt"}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_that_mixes_studies_has_more_than_one_in_a_batch(preset: Path) -> None:
    config = {**json.loads((CONFIGS / "train.json").read_text()), **json.loads(preset.read_text())}
    mixed = [name for name in MIXED if config.get(f"mixing#{name}", 0) > 0]
    assert not mixed or config["batch_size"] > 1


@pytest.mark.parametrize(("name", "kind"), [("train", "train"), ("inference", "infer")])
def test_the_workflow_has_every_property_monai_asks_for(name: str, kind: str, data: Path) -> None:
    settings = {**(SMALL if name == "train" else NETWORK), "dataset_dir": str(data)}
    workflow = create_workflow(config_file=files(name), workflow_type=kind, **settings)
    assert workflow.check_properties() == []


def test_bundle_load_gives_the_shipped_network() -> None:
    bundle = CONFIGS.parent
    network = load(name=bundle.name, bundle_dir=str(bundle.parent), source="github")
    weights = torch.load(bundle / "models/model.pt", weights_only=True)
    assert torch.equal(network.state_dict()["weight"], weights["weight"])
    assert (bundle / "models/model.pt").stat().st_size < 12e6
