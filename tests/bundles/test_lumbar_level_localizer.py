"""The localizer's shipped configs, run as they are, shrunk to what a test can afford."""

import csv
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, create_workflow, load
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_spine.bundle.shipped import LEVEL_LOCALIZER as BUNDLE
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.locate import locate
from monai_spine.spine import TARGETS, Level, SeriesType
from tests.bundles import runs
from tests.cohorts import write_cohort
from tests.phantoms import write_phantom

CONFIGS = BUNDLE / "configs"
SMALL = {
    "grid_size": [5, 48, 48],
    "grid_step": 6.0,
    "network_def#channels": [4, 8],
    "network_def#mixed": 1,
    "images_per_epoch": 4,
    "validation_images": 3,
    "num_workers": 0,
    "epochs": 2,
}
NETWORK = {key: value for key, value in SMALL.items() if key.startswith("network_def")}


run = functools.partial(runs.run, configs=CONFIGS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of noise with points of a straight spine."""
    path = write_cohort(tmp_path_factory.mktemp("data"), studies=3)
    content = json.loads(path.read_text())
    for entry in content["training"]:
        entry["points"] = {target: [_side(target), 0.0, 60.0 - 30 * (n % 5)] for n, target in enumerate(TARGETS)}
    path.write_text(json.dumps(content))
    return path


def _side(target: str) -> float:
    return {"l": -17.0, "r": 17.0}.get(target[0], 0.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundle")
    run("train", run_id="training", bundle_root=str(root), **SMALL)
    return root


@pytest.mark.slow
def test_training_leaves_weights_state_and_figures(trained: Path) -> None:
    assert {file.name for file in (trained / "models").iterdir()} == {"latest.pt", "model.json", "model.pt"}
    (folder,) = (trained / "eval" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert {"loss/training", "score/missed", "score/invented_foramen", "lr/all"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("score/missed")) == 2


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(trained: Path, tmp_path: Path) -> None:
    run("train", run_id="training", bundle_root=str(tmp_path), **SMALL)
    one, other = (torch.load(root / "models/latest.pt", weights_only=True)["parts"] for root in (trained, tmp_path))
    for name, tensor in one["network"].items():
        assert torch.allclose(tensor, other["network"][name], atol=1e-6), name


def test_every_epoch_has_items_of_its_own() -> None:
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "train.json"))
    parser.update(SMALL)
    images = parser.get_parsed_content("train#images")
    handler = parser.get_parsed_content("train#handlers#0")
    first = images[0]["image"]
    trainer = parser.get_parsed_content("train#trainer")
    trainer.state.epoch = 2
    handler._redraw(trainer)
    assert not np.array_equal(first, images[0]["image"])


@pytest.mark.slow
def test_inference_writes_a_row_for_every_volume(trained: Path, data: Path, tmp_path: Path) -> None:
    where = {"bundle_root": str(trained), "dataset_dir": str(data.parent), "output_dir": str(tmp_path), **NETWORK}
    run("inference", run_id="inference", **where)
    with (tmp_path / "volumes.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 6
    assert {row["status"] for row in rows} <= {"found", "no lumbar spine found"}
    assert (tmp_path / "points.csv").is_file()
    assert len(list(tmp_path.glob("*/points.json"))) == 3


@pytest.mark.slow
def test_inference_with_the_shipped_weights_finds_what_locate_finds_recesses_included(tmp_path: Path) -> None:
    person, scans = write_phantom(tmp_path / "studies/one", seed=4)
    where = {"bundle_root": str(BUNDLE), "dataset_dir": str(tmp_path / "studies"), "output_dir": str(tmp_path / "a")}
    run("inference", run_id="inference", **where)
    found = locate([tmp_path / "studies"], tmp_path / "b", LevelLocator.from_bundle(), RecessLocator.from_bundle())
    assert found.located == ["one"]
    table = (tmp_path / "a/points.csv").read_text()
    assert table == (tmp_path / "b/points.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["flag"] for row in rows if row["point"] == "recess"] == [""] * 6
    motion = scans[SeriesType.SAGITTAL_T2].motion
    for row in rows:
        if row["point"] == "canal":
            true = person.curve.to_world(person.canal_point(Level(row["level"]))) + motion
            assert np.linalg.norm(true - [float(row[axis]) for axis in "xyz"]) < 5


@pytest.mark.slow
def test_evaluation_compares_with_the_marked_points(trained: Path, data: Path, tmp_path: Path) -> None:
    where = {"bundle_root": str(trained), "dataset_dir": str(data), "output_dir": str(tmp_path), **NETWORK}
    run("inference", "evaluate", run_id="evaluation", **where)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert set(metrics) == {"sagittal_t1", "sagittal_t2"}
    assert metrics["sagittal_t2"]["canal"]["marked"] == 15
    assert metrics["sagittal_t2"]["volumes"] == 3
    assert sum(figures["volumes"] for figures in metrics["sagittal_t2"]["by_height"].values()) == 3
    assert len(list(tmp_path.glob("worst_*.png"))) == 6
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert "worst/5" in EventAccumulator(str(folder)).Reload().Tags()["images"]


@pytest.mark.slow
def test_marked_points_of_a_datalist_train_it_on(trained: Path, data: Path, tmp_path: Path) -> None:
    start = {"weights": str(trained / "models/model.pt"), "dataset_dir": str(data.parent)}
    run("train", "finetune", run_id="training", bundle_root=str(tmp_path), **{**SMALL, "batch_size": 1}, **start)
    first, then = (torch.load(root / "models/latest.pt", weights_only=True)["parts"] for root in (trained, tmp_path))
    assert set(first["network"]) == set(then["network"])
    assert any(not torch.equal(value, then["network"][name]) for name, value in first["network"].items())


def test_processes_share_the_volumes_of_a_datalist(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_training(processes: int, rank: int) -> list[str]:
        monkeypatch.setattr("ignite.distributed.get_world_size", lambda: processes)
        monkeypatch.setattr("ignite.distributed.get_rank", lambda: rank)
        parser = ConfigParser()
        parser.read_config([str(CONFIGS / f"{name}.json") for name in ("train", "finetune", "multi_gpu_train")])
        parser["dataset_dir"] = str(data.parent)
        return [str(volume["image"]) for volume in parser.get_parsed_content("train#dataset#data")]

    every, first, second = of_training(1, 0), of_training(2, 0), of_training(2, 1)
    assert len(first) == len(second) == len(every) / 2 > 0
    assert {*first, *second} == set(every)


@pytest.mark.slow
def test_training_from_weights_starts_with_them(trained: Path, tmp_path: Path) -> None:
    weights = str(trained / "models/model.pt")
    still = {**SMALL, "epochs": 1, "learning_rate": 1e-12, "weights": weights}
    run("train", run_id="training", bundle_root=str(tmp_path), **still)
    first, then = (torch.load(file, weights_only=True) for file in (weights, tmp_path / "models/model.pt"))
    for name, tensor in first.items():
        assert torch.allclose(tensor, then[name], atol=1e-6), name


@pytest.mark.slow
def test_the_other_design_trains_and_infers(data: Path, tmp_path: Path) -> None:
    small = {key: value for key, value in SMALL.items() if key not in NETWORK} | {"epochs": 1}
    narrow = {"network_def#filters": [4, 8, 8, 8]}
    network = ConfigParser.load_config_file(CONFIGS / "volume_unet.json")["network_def"]
    torch.manual_seed(0)
    started = ConfigParser({"network": network}).get_parsed_content("network")
    logits = started(torch.rand(1, 1, 5, 48, 48))
    assert logits.shape == (1, 8, 5, 24, 24)
    assert logits[:, :3].sigmoid().mean() < 0.15  # without that start about .4
    run("train", "volume_unet", run_id="training", bundle_root=str(tmp_path), **small, **narrow)
    where = {"bundle_root": str(tmp_path), "dataset_dir": str(data.parent), "output_dir": str(tmp_path / "out")}
    run("inference", "volume_unet", run_id="inference", **where, **narrow)
    assert (tmp_path / "out/volumes.csv").is_file()


def test_bundle_load_gives_the_shipped_network() -> None:
    network = load(name=BUNDLE.name, bundle_dir=str(BUNDLE.parent), source="github")
    weights = torch.load(BUNDLE / "models/model.pt", weights_only=True)
    assert torch.equal(network.state_dict()["head.weight"], weights["head.weight"])


def test_training_and_inference_share_network_and_postprocessing() -> None:
    train, inference = (json.loads((CONFIGS / f"{name}.json").read_text()) for name in ("train", "inference"))
    assert train["network_def"] == inference["network_def"]
    assert train["validate"]["postprocessing"] == inference["postprocessing"]
    assert train["train"]["inferer"] == inference["inferer"]


@pytest.mark.parametrize(("name", "kind"), [("train", "train"), ("inference", "infer")])
def test_the_workflow_has_every_property_monai_asks_for(name: str, kind: str, data: Path) -> None:
    settings = {"dataset_dir": str(data.parent), **(SMALL if name == "train" else NETWORK)}
    workflow = create_workflow(config_file=str(CONFIGS / f"{name}.json"), workflow_type=kind, **settings)
    assert workflow.check_properties() == []
