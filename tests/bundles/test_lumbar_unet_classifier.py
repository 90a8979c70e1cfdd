"""The shipped configs, run as they are on small cohorts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser, create_workflow, load
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_spine.data.volume import WINDOW
from monai_spine.errors import MissingInputError
from monai_spine.spine import TARGETS
from monai_spine.transforms.study_grid import RandLateralFlipd
from tests.bundles.runs import CONFIGS, SMALL, commands, files, run
from tests.cohorts import write_cohort


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data"), studies=8).parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A bundle root after two epochs of training."""
    root = tmp_path_factory.mktemp("bundle")
    run("train", run_id="training", bundle_root=str(root), dataset_dir=str(data))
    return root


def scalars(root: Path) -> EventAccumulator:
    (folder,) = (root / "eval" / "tensorboard").iterdir()
    return EventAccumulator(str(folder)).Reload()


@pytest.mark.slow
def test_training_leaves_weights_state_and_logs(trained: Path) -> None:
    assert {file.name for file in (trained / "models").iterdir()} == {"latest.pt", "model.json", "model.pt"}
    weights = torch.load(trained / "models" / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())


@pytest.mark.slow
def test_tensorboard_holds_loss_score_conditions_learning_rate_and_pictures(trained: Path) -> None:
    events = scalars(trained)
    tags = set(events.Tags()["scalars"])
    assert {"loss/training", "score/score", "score/of_prior", "score/spinal", "lr/all"} <= tags
    assert {f"loss/{condition}" for condition in ("spinal_canal_stenosis", "left_subarticular_stenosis")} <= tags
    assert {"study/0", "study/1"} <= set(events.Tags()["images"])
    assert len(events.Scalars("score/score")) == 2


@pytest.mark.slow
def test_a_resumed_run_goes_on_where_it_stopped_and_keeps_the_best(tmp_path: Path, data: Path) -> None:
    where = {"bundle_root": str(tmp_path), "dataset_dir": str(data), "epochs": 3}
    with pytest.raises(RuntimeError):
        run("train", run_id="training", stop_in_epoch=3, **where)
    half = torch.load(tmp_path / "models" / "latest.pt", weights_only=True)
    assert half["progress"] == {"epoch": 2, "max_epochs": 3, "ended": False}
    best = dict(half["parts"]["best_model"])
    half["parts"]["best_model"]["best"] = 0.0
    torch.save(half, tmp_path / "models" / "latest.pt")
    before = (tmp_path / "models" / "model.pt").read_bytes()
    run("train", run_id="training", resume=True, **where)
    done = torch.load(tmp_path / "models" / "latest.pt", weights_only=True)
    assert done["progress"]["epoch"] == 3
    assert done["parts"]["best_model"] == {"best": 0.0, "best_epoch": best["best_epoch"]}
    assert (tmp_path / "models" / "model.pt").read_bytes() == before


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(tmp_path: Path, data: Path, trained: Path) -> None:
    run("train", run_id="training", bundle_root=str(tmp_path), dataset_dir=str(data))
    one, other = (torch.load(root / "models" / "latest.pt", weights_only=True)["parts"] for root in (trained, tmp_path))
    for name, tensor in one["network"].items():
        assert torch.allclose(tensor, other["network"][name], atol=1e-6), name


@pytest.mark.slow
def test_evaluation_writes_predictions_of_the_validation_fold_and_metrics(trained: Path, data: Path) -> None:
    run("train", "evaluate", run_id="evaluation", bundle_root=str(trained), dataset_dir=str(data))
    metrics = json.loads((trained / "eval" / "metrics.json").read_text())
    best = torch.load(trained / "models" / "latest.pt", weights_only=True)["parts"]["best_model"]["best"]
    assert metrics["score"] == pytest.approx(best, abs=1e-5)
    assert metrics["score_of_prior"] > 0
    studies = json.loads((data / "datalist.json").read_text())["training"]
    expected = {entry["study_id"] for entry in studies if entry["fold"] == 0}
    assert {row.split("_")[0] for row in pd.read_csv(trained / "eval" / "predictions.csv")["row_id"]} == expected


@pytest.mark.slow
def test_inference_on_a_folder_grades_every_study_once(trained: Path, data: Path, tmp_path: Path) -> None:
    run("inference", run_id="inference", bundle_root=str(trained), dataset_dir=str(data), output_dir=str(tmp_path))
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert len(table) == 8 * 25
    assert list(table["row_id"]) == sorted(table["row_id"])
    assert np.allclose(table[["normal_mild", "moderate", "severe"]].sum(axis=1), 1)
    findings = json.loads((tmp_path / "4000000003" / "findings.json").read_text())
    assert [entry["finding"] for entry in findings["findings"]] == list(TARGETS)


@pytest.mark.slow
def test_evaluation_and_inference_say_the_same_of_a_study(trained: Path, data: Path, tmp_path: Path) -> None:
    where = {"bundle_root": str(trained), "dataset_dir": str(data)}
    run("train", "evaluate", run_id="evaluation", **where, output_dir=str(tmp_path / "a"))
    run("inference", run_id="inference", **where, output_dir=str(tmp_path / "b"))
    one = pd.read_csv(tmp_path / "a" / "predictions.csv", index_col=0)
    other = pd.read_csv(tmp_path / "b" / "predictions.csv", index_col=0).loc[one.index]
    assert np.allclose(one, other, atol=1e-5)


def test_training_and_inference_share_preprocessing_network_and_postprocessing() -> None:
    train, inference = (ConfigParser.load_config_file(file) for file in files("train", "inference"))
    shared = ("grid_size", "grid_step", "spatial_dims", "network_def", "reading", "to_input")
    for key in (*shared, "to_tensor"):
        assert train[key] == inference[key], key
    assert train["validate"]["postprocessing"] == inference["postprocessing"]
    assert train["train"]["inferer"] == inference["inferer"]


@pytest.mark.slow
def test_the_3d_override_trains(tmp_path: Path, data: Path) -> None:
    run("train", "volume_3d", run_id="training", bundle_root=str(tmp_path), dataset_dir=str(data), epochs=1)
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert weights["down.0.1.conv.unit0.conv.weight"].ndim == 5


@pytest.mark.parametrize("name", ["train", "inference"])
def test_stacks_have_the_window_of_all_networks_of_spines(name: str) -> None:
    steps = json.loads((CONFIGS / f"{name}.json").read_text())["stack_transforms"]
    (scaling,) = [one for one in steps if one["_target_"] == "ScaleIntensityRangePercentilesd"]
    assert (scaling["lower"], scaling["upper"]) == WINDOW


def test_no_shipped_config_flips_but_by_the_transform_that_swaps_labels() -> None:
    for file in CONFIGS.glob("*.json"):
        flips = [word for word in file.read_text().replace('"', " ").split() if "flip" in word.lower()]
        assert set(flips) <= {f"{RandLateralFlipd.__module__}.{RandLateralFlipd.__name__}"}, file.name


@pytest.mark.parametrize(("names", "kind"), [(("train",), "train"), (("inference",), "infer")])
def test_the_workflow_has_every_property_monai_asks_for(names: tuple[str, ...], kind: str, data: Path) -> None:
    settings = {**SMALL, "dataset_dir": str(data)}
    workflow = create_workflow(config_file=files(*names), workflow_type=kind, **settings)
    assert workflow.check_properties() == []


@pytest.mark.slow
def test_bundle_load_gives_the_trained_network(trained: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "lumbar_unet_classifier"
    (bundle / "configs").mkdir(parents=True)
    for name in ("train", "inference", "metadata"):
        content = (CONFIGS / f"{name}.json").read_text().replace("[16, 32, 64, 128]", "[4, 8]")
        content = content.replace("[2, 2, 2, 2]", "[2, 2]").replace('"grid_size": [12, ', '"grid_size": [4, ')
        (bundle / "configs" / f"{name}.json").write_text(content)
    (bundle / "models").mkdir()
    (bundle / "models" / "model.pt").write_bytes((trained / "models" / "model.pt").read_bytes())
    network = load(name="lumbar_unet_classifier", bundle_dir=str(tmp_path), source="github")
    weights = torch.load(trained / "models" / "model.pt", weights_only=True)
    assert torch.equal(network.state_dict()["head.weight"], weights["head.weight"])


def root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@pytest.mark.slow
@pytest.mark.parametrize("names", [("inference",), ("train", "evaluate")])
def test_without_weights_nothing_is_graded(names: tuple[str, ...], tmp_path: Path, data: Path) -> None:
    run_id = "inference" if names == ("inference",) else "evaluation"
    with pytest.raises(RuntimeError) as caught:
        run(*names, run_id=run_id, bundle_root=str(tmp_path), dataset_dir=str(data))
    assert isinstance(root_cause(caught.value), MissingInputError)
    assert not list(tmp_path.rglob("predictions.csv"))


@pytest.mark.slow
def test_weights_of_another_network_are_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    changes = {"network_def#channels": [4, 4], "output_dir": str(tmp_path)}
    with pytest.raises(RuntimeError) as caught:
        run("inference", run_id="inference", bundle_root=str(trained), dataset_dir=str(data), **changes)
    assert "trained with network_def#channels = [4, 8], but [4, 4] is asked for" in str(root_cause(caught.value))
    assert not list(tmp_path.rglob("predictions.csv"))


@pytest.mark.slow
def test_a_shorter_plan_is_not_resumed(trained: Path, data: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        run("train", run_id="training", bundle_root=str(trained), dataset_dir=str(data), resume=True, epochs=1)
    assert "planned for 2 epochs, but 1 are asked for" in str(root_cause(caught.value))


@pytest.mark.slow
def test_a_users_mistake_ends_with_2_and_one_line(tmp_path: Path, data: Path) -> None:
    training = {"run_id": "training"}
    mistakes = {
        "expected weights, but there is no file": (("inference",), {"run_id": "inference"}),
        "nothing to run called 'trainin'": (("train",), {"run_id": "trainin"}),
        "no item 'optimiser'": (("train",), {**training, "optimizer": "@optimiser"}),
        "expected a datalist": (("train",), {**training, "datalist": "/nowhere/datalist.json"}),
        "error: no setting 'epoch'; did you mean 'epochs'?": (("train",), {**training, "epoch": 3}),
    }
    (tmp_path / "run").mkdir()
    where = {"bundle_root": tmp_path / "run", "dataset_dir": data}
    ended = commands(tmp_path, *((names, {**where, **changes}) for names, changes in mistakes.values()))
    for message, (code, said) in zip(mistakes, ended, strict=True):
        assert code == 2, said[-2000:]
        assert message in said.splitlines()[-1]
        assert "Traceback" not in said
    assert list((tmp_path / "run").iterdir()) == []
