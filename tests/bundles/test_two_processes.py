"""Every bundle's shipped training in two processes of ``torchrun``, shrunk to what a test can afford."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_spine.bundle.shipped import BUNDLES
from monai_spine.images.data.datalist import Task
from tests.bundles import runs, test_image_classifier, test_lumbar_level_localizer, test_lumbar_recess_localizer
from tests.bundles.test_lumbar_25d_grader import SMALL as GRADER
from tests.bundles.test_resume import EPOCHS, TRAININGS, assert_equal, state_of
from tests.cohorts import place_points, write_cohort
from tests.monai_spine.images.pictures import write_dataset

pytestmark = pytest.mark.slow

NOTHING_BY_CHANCE = {"network_def#dropout": 0.0, "network_def#drop_view": 0.0, "augmentation": "$None"}
FOUR_AND_TWO = {"records": "$datalist.read_datalist(@datalist)", "splits": "$(@records[:4], @records[4:6])"}
ONE_EPOCH = {
    **{**GRADER, **NOTHING_BY_CHANCE, **FOUR_AND_TWO},
    **{"backbones": ["test_vit"], "epochs": 1, "loss#any_severe": 2.0},
}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = place_points(write_cohort(tmp_path_factory.mktemp("studies"), studies=8))
    content = json.loads(path.read_text())
    for n, entry in enumerate(content["training"]):
        entry["fold"] = 0 if n < 2 else 1  # six to learn from: three batches
    path.write_text(json.dumps(content))
    return path.parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, studies: Path) -> Path:
    """A folder with a bundle root for each training; in the one called ``killed``, a process is killed."""
    out = tmp_path_factory.mktemp("trained")
    unet = {**TRAININGS["unet"].settings, "epochs": EPOCHS, "batch_size": 1, "resume": "auto", "dataset_dir": studies}
    images = {**test_image_classifier.SMALL, "epochs": 1, "mixing#cutmix_alpha": 1.0}
    images["layers#unfreeze"] = {1: "last: 1"}
    images["dataset_dir"] = write_dataset(tmp_path_factory.mktemp("pictures"), Task.MULTICLASS)
    kill = {"_target_": "monai_spine.jobs.kill_once.KillOnce", "mark": str(out / "mark"), "epoch": 2, "rank": 1}
    (out / "kill.json").write_text(json.dumps({"+train#handlers": [kill]}))
    trainings = {
        "grader": ("lumbar_25d_grader", {**ONE_EPOCH, "batch_size": 1, "dataset_dir": studies}),
        "levels": ("lumbar_level_localizer", test_lumbar_level_localizer.SMALL),
        "recesses": ("lumbar_recess_localizer", {**test_lumbar_recess_localizer.SMALL, "batch_size": 2}),
        "images": ("image_classifier", images),
        "straight": ("lumbar_unet_classifier", unet),
        "killed": ("lumbar_unet_classifier", unet),
    }
    plan = {}
    for name, (bundle, settings) in trainings.items():
        (out / name).mkdir()
        files = runs.files("train", "multi_gpu_train", configs=BUNDLES / bundle / "configs")
        where = {"bundle_root": out / name, "device": "cpu", "num_workers": 0}
        plan[name] = (files + [str(out / "kill.json")] * (name == "killed"), {**settings, **where})
    (out / "plan").write_text(json.dumps(plan, default=str))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts=1"]
    done = subprocess.run(
        [*command, "-m", "tests.bundles.in_turn", str(out / "plan")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        cwd=runs.ROOT,
    )
    assert done.returncode == 0, done.stderr[-9000:]
    return out


def scalars(root: Path, name: str) -> list[float]:
    (folder,) = (root / "eval/tensorboard").iterdir()
    return [event.value for event in EventAccumulator(str(folder)).Reload().Scalars(name)]


def steps(root: Path) -> int:
    """How many steps the optimizer has done."""
    return int(state_of(root)["parts"]["optimizer"]["state"][0]["step"])


def test_two_processes_train_the_grader_as_one(trained: Path, studies: Path, tmp_path: Path) -> None:
    """The same batches, shared out: losses, averaged weights and score are the same but for rounding."""
    where = {
        "bundle_root": str(tmp_path),
        "dataset_dir": str(studies),
        "configs": BUNDLES / "lumbar_25d_grader/configs",
    }
    runs.run("train", run_id="training", **where, **ONE_EPOCH)
    one, two = (state_of(root)["parts"] for root in (tmp_path, trained / "grader"))
    assert one["best_model"]["best"] == pytest.approx(two["best_model"]["best"], abs=1e-4)
    for network in ("network", "ema_network"):
        for name, weights in one[network].items():
            assert torch.allclose(weights, two[network][name], atol=2e-4), name
    one, two = (scalars(root, "loss/training") for root in (tmp_path, trained / "grader"))
    assert len(one) == 2
    assert two == pytest.approx(one, abs=1e-4)


def test_two_processes_share_the_images_of_an_epoch(trained: Path) -> None:
    assert steps(trained / "levels") == 2  # two epochs of four images, two at a time in each of two processes
    assert steps(trained / "recesses") == 4  # of eight images
    assert (trained / "levels/models/model.pt").is_file()


def test_two_processes_train_the_image_classifier(trained: Path) -> None:
    assert (trained / "images/models/model.pt").is_file()


def test_torchrun_restarts_a_killed_worker_and_the_run_ends_as_if_nothing_had_been(trained: Path) -> None:
    assert (trained / "mark").exists()
    assert_equal(*(state_of(trained / name) for name in ("straight", "killed")))
    assert len(scalars(trained / "straight", "score/score")) == EPOCHS
    assert (trained / "straight/models/model.pt").is_file()
