"""The recess localizer's shipped configs, run as they are, shrunk to what a test can afford; its shipped weights."""

import csv
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import create_workflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_prep.phantom.randomised import RandomisedRecesses
from monai_spine.bundle.shipped import RECESS_LOCALIZER as BUNDLE
from monai_spine.levels.localizers import RecessLocator
from monai_spine.levels.recesses.crop import RecessCropd
from monai_spine.levels.recesses.detection import distributions, read_recesses
from monai_spine.spine import TARGETS
from tests.bundles import runs
from tests.cohorts import write_cohort

CONFIGS = BUNDLE / "configs"
SMALL = {
    "network_def#channels": [4, 8],
    "images_per_epoch": 8,
    "validation_images": 4,
    "batch_size": 4,
    "num_workers": 0,
    "epochs": 2,
}
NETWORK = {key: value for key, value in SMALL.items() if key.startswith("network_def")}


run = functools.partial(runs.run, configs=CONFIGS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of noise with points of a straight spine, of which the axial stacks show the lower levels."""
    path = write_cohort(tmp_path_factory.mktemp("data"), studies=2)
    content = json.loads(path.read_text())
    for entry in content["training"]:
        entry["points"] = {target: [_side(target), 0.0, 70.0 - 30 * (n % 5)] for n, target in enumerate(TARGETS)}
    path.write_text(json.dumps(content))
    return path


def _side(target: str) -> float:
    return {"l": -9.5, "r": 9.5}.get(target[0], 0.0)


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
    assert {"loss/training", "score/error", "score/far", "lr/all"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("score/error")) == 2


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(trained: Path, tmp_path: Path) -> None:
    run("train", run_id="training", bundle_root=str(tmp_path), **SMALL)
    one, other = (torch.load(root / "models/latest.pt", weights_only=True)["parts"] for root in (trained, tmp_path))
    for name, tensor in one["network"].items():
        assert torch.allclose(tensor, other["network"][name], atol=1e-6), name


@pytest.mark.slow
def test_inference_writes_the_recesses_of_every_level_that_a_plane_shows(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    where = {"bundle_root": str(trained), "dataset_dir": str(data), "output_dir": str(tmp_path), **NETWORK}
    run("inference", run_id="inference", section="training", **where)
    with (tmp_path / "points.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert {row["point"] for row in rows} == {"recess"}
    content = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("*/points.json"))]
    assert len(content) == 2
    given = sum(len(study["points"]) for study in content)
    assert given == len(rows) > 0
    assert given + sum(len(study["absent"]) for study in content) == 2 * 10


@pytest.mark.slow
def test_evaluation_compares_projected_and_refined_with_the_marked_points(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    where = {"bundle_root": str(trained), "dataset_dir": str(data), "output_dir": str(tmp_path), **NETWORK}
    run("inference", "evaluate", run_id="evaluation", **where)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    with (tmp_path / "errors.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert metrics["marked"] == 20
    assert metrics["marked"] - metrics["without_plane"] == len(rows) > 0
    for kind in ("projected", "refined"):
        errors = [float(row[f"{kind}_mm"]) for row in rows]
        assert metrics[kind]["mean_mm"] == pytest.approx(np.mean(errors), abs=2e-3)
    # a recess is put 9.5 mm to the side, 2.5 mm ahead and 2 mm down, and the points are marked beside the canal
    assert metrics["projected"]["mean_in_plane_mm"] == pytest.approx(2.5, abs=0.1)


@pytest.mark.slow
def test_jitter_makes_projected_points_worse(trained: Path, data: Path, tmp_path: Path) -> None:
    where = {"bundle_root": str(trained), "dataset_dir": str(data), "output_dir": str(tmp_path), **NETWORK}
    run("inference", "evaluate", run_id="evaluation", jitter=8.0, **where)
    assert json.loads((tmp_path / "metrics.json").read_text())["projected"]["mean_in_plane_mm"] > 4.0


def test_training_and_inference_share_network_cropping_and_postprocessing() -> None:
    train, inference = (json.loads((CONFIGS / f"{name}.json").read_text()) for name in ("train", "inference"))
    assert train["network_def"] == inference["network_def"]
    assert train["cropping"] == inference["cropping"]
    assert train["validate"]["postprocessing"] == inference["postprocessing"]
    assert train["train"]["inferer"] == inference["inferer"]
    assert "@cropping" in train["preprocessing"]["transforms"]
    assert "@cropping" in inference["preprocessing"]["transforms"]


@pytest.mark.parametrize(("name", "kind"), [("train", "train"), ("inference", "infer")])
def test_the_workflow_has_every_property_monai_asks_for(name: str, kind: str, data: Path) -> None:
    settings = {"dataset_dir": str(data.parent), **(SMALL if name == "train" else NETWORK)}
    workflow = create_workflow(config_file=str(CONFIGS / f"{name}.json"), workflow_type=kind, **settings)
    assert workflow.check_properties() == []


@pytest.mark.slow
def test_the_shipped_weights_find_recesses_that_they_have_never_seen() -> None:
    dataset, crop, network = RandomisedRecesses(length=40, seed=555), RecessCropd(), RecessLocator.from_bundle().network
    errors, before = [], []
    for item in (dataset[n] for n in range(len(dataset))):
        if np.isfinite(item["recess"]).all():
            record = crop(item)
            seen = read_recesses(distributions(network(record["image"][None].numpy())[0]), record["affine"])
            priors = read_recesses(record["image"][1:, :, ::2, ::2], record["affine"])
            errors += [
                np.linalg.norm(one.world - place) for one, place in zip(seen.values(), item["recess"], strict=True)
            ]
            before += [
                np.linalg.norm(one.world - place) for one, place in zip(priors.values(), item["recess"], strict=True)
            ]
    assert np.mean(errors) < 1.5
    assert np.mean(errors) < 0.4 * np.mean(before)
    assert (BUNDLE / "models/model.pt").stat().st_size < 1_000_000
