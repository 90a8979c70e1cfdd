"""Every bundle's shipped training, killed and resumed with one and the same command, against one never stopped."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import create_workflow

from monai_spine.bundle.errors import chain, explanation
from monai_spine.bundle.shipped import BUNDLES
from monai_spine.images.data.datalist import Task
from tests.bundles.runs import stop
from tests.cohorts import place_points, write_cohort
from tests.monai_spine.images.pictures import write_dataset

EPOCHS = 3


@dataclass(frozen=True)
class Training:
    """A shipped training, shrunk to what a test can afford; ``stops`` are iterations in which it is killed."""

    bundle: str
    settings: dict[str, object]
    data: str = ""
    presets: tuple[str, ...] = ()
    # in the first epoch, in the middle of the second, and at the end of the second before its validation
    stops: tuple[int, ...] = (1, 4, 5)
    parts: set[str] = field(default_factory=lambda: {"network", "optimizer", "lr_scheduler", "best_model"})


SLICES = {"views#0#slices": 2, "views#1#slices": 3, "views#2#slices": 1}
IMAGES = {"images_per_epoch": 6, "validation_images": 2, "batch_size": 2}
TRAININGS = {
    "grader": Training(
        "lumbar_25d_grader",
        {
            **{"pixels": [32, 32], "network_def#features": 16, "batch_size": 2, **SLICES},
            **{"mixing#mixup": 0.5, "mixing#holes": 0.5, "val_interval": 2},
            "layers#unfreeze": {1: "last: 1", 2: "all"},
        },
        data="studies",
        parts={"network", "optimizer", "lr_scheduler", "best_model", "ema_network"},
    ),
    "grader with workers": Training(
        "lumbar_25d_grader",
        {
            "pixels": [32, 32],
            "network_def#features": 16,
            "batch_size": 2,
            "num_workers": 2,
            "ema#momentum": 0.0,
            **SLICES,
        },
        data="studies",
        stops=(5,),
    ),
    "unet": Training(
        "lumbar_unet_classifier",
        {
            **{"grid_size": [4, 16, 24], "grid_step": [12.0, 8.0, 6.0], "batch_size": 2},
            **{"network_def#channels": [4, 8], "network_def#strides": [2, 2]},
        },
        data="studies",
    ),
    "level localizer": Training(
        "lumbar_level_localizer",
        {
            **{"network_def#channels": [4, 8], "network_def#mixed": 1, "grid_size": [4, 24, 24], "grid_step": 12.0},
            **IMAGES,
        },
        stops=(4,),
    ),
    "recess localizer": Training("lumbar_recess_localizer", {"network_def#channels": [4, 8], **IMAGES}, stops=(4,)),
    "images": Training(
        "image_classifier",
        {
            **{"backbone": "test_resnet", "pixels": [24, 24], "batch_size": 4, "learning_rate": 0.003},
            **{"ema#momentum": 0.1, "augmentation#preset": "medical_grey", "mixing#cutmix_alpha": 0.5},
            **{"network_def#dropout": 0.2, "network_def#drop_path": 0.1},
            **{"embedding#images": 0, "pictures#every": 9, "lr_scheduler#course": "plateau"},
            "layers#unfreeze": {1: "last: 1", 2: "all"},
            "train#sampler#balanced": True,
        },
        data="pictures",
        parts={"network", "optimizer", "lr_scheduler", "best_model", "ema_network"},
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    studies = place_points(write_cohort(tmp_path_factory.mktemp("studies"), studies=8))
    content = json.loads(studies.read_text())
    for n, entry in enumerate(content["training"]):
        entry["fold"] = 0 if n < 2 else 1  # six to learn from: three batches
    studies.write_text(json.dumps(content))
    return {
        "studies": studies.parent,
        "pictures": write_dataset(tmp_path_factory.mktemp("pictures"), Task.MULTICLASS),
        "": studies.parent,
    }


def run(training: Training, root: Path, data: Path, *, stop_at: int | None = None, **changes: object) -> None:
    """Run the training in this process; an exception in an iteration is all that a kill can do."""
    configs = BUNDLES / training.bundle / "configs"
    files = [str(configs / f"{name}.json") for name in ("train", *training.presets)]
    settings = {"num_workers": 0, **training.settings, "epochs": EPOCHS, **changes}
    where = {"bundle_root": str(root), "dataset_dir": str(data)}
    workflow = create_workflow(config_file=files, workflow_type="train", run_id="training", **where, **settings)
    if stop_at is not None:
        trainer = workflow.parser.get_parsed_content("train#trainer")
        trainer.add_event_handler(Events.ITERATION_STARTED(once=stop_at), stop)
    try:
        workflow.run()
    finally:
        workflow.finalize()


def killed(training: Training, root: Path, data: Path, stop_at: int, **changes: object) -> None:
    with pytest.raises(Exception) as caught:
        run(training, root, data, stop_at=stop_at, resume="auto", **changes)
    assert any("stopped by a test" in str(error) for error in chain(caught.value)), caught.value


def refusal(run_again: Callable[[], None]) -> str:
    with pytest.raises(Exception) as caught:
        run_again()
    said = explanation(caught.value)
    assert said is not None, caught.value
    return said


def state_of(root: Path) -> dict:
    return torch.load(root / "models/latest.pt", weights_only=True)


def assert_equal(one: object, other: object, where: str = "state") -> None:
    """That two nested states are the same to the last bit."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for name, value in one.items():
            assert_equal(value, other[name], f"{where}.{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for n, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where}[{n}]")
    else:
        assert one == other, (where, one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_a_killed_and_resumed_run_equals_one_never_stopped(
    name: str, tmp_path: Path, data: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    training = TRAININGS[name]
    place = data[training.data]
    run(training, tmp_path / "straight", place)
    for iteration in training.stops:
        killed(training, tmp_path / "killed", place, iteration)
    run(training, tmp_path / "killed", place, resume="auto")
    one, other = (state_of(tmp_path / which) for which in ("straight", "killed"))
    assert set(one["parts"]) == training.parts
    assert one["progress"] == {"epoch": EPOCHS, "max_epochs": EPOCHS, "ended": True}
    assert_equal(one, other)
    best = [torch.load(tmp_path / which / "models/model.pt", weights_only=True) for which in ("straight", "killed")]
    assert_equal(*best)
    files = {file.name for file in (tmp_path / "killed/models").iterdir() if file.is_file()}
    assert {"model.pt", "latest.pt"} <= files
    assert not [file for file in files if file.startswith(".") or "previous" in file]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Path]) -> Path:
    """A bundle root after a training of the baseline."""
    root = tmp_path_factory.mktemp("finished")
    run(TRAININGS["unet"], root, data["studies"])
    return root


@pytest.mark.slow
def test_auto_ends_without_an_error_if_the_run_has_finished(finished: Path, data: dict[str, Path]) -> None:
    before = (finished / "models/latest.pt").read_bytes()
    run(TRAININGS["unet"], finished, data["studies"], resume="auto")
    assert (finished / "models/latest.pt").read_bytes() == before
    assert len(list((finished / "eval/tensorboard").iterdir())) == 1
    said = refusal(lambda: run(TRAININGS["unet"], finished, data["studies"], resume=True))
    assert "nothing is left to resume" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"fold": 1}, "fold is 1, but was 0"),
        ({"learning_rate": 0.1}, "learning_rate is 0.1, but was 0.001"),
        ({"network_def#channels": [4, 9]}, "network_def#channels is [4, 9], but was [4, 8]"),
        ({"train#augmentation#0#prob": 0.1}, "train#augmentation#0#prob is 0.1, but was 0.5"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(
    changes: dict, difference: str, finished: Path, data: dict[str, Path]
) -> None:
    said = refusal(lambda: run(TRAININGS["unet"], finished, data["studies"], resume="auto", **changes))
    assert difference in said


@pytest.mark.slow
def test_a_run_is_not_resumed_with_an_edited_datalist_but_from_another_place(
    finished: Path, data: dict[str, Path], tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(data["studies"])
    run(TRAININGS["unet"], finished, moved, resume="auto", num_workers=1, **{"training_run#progress": False})
    content = json.loads((data["studies"] / "datalist.json").read_text())
    content["training"][0]["fold"] = 1
    edited = data["studies"] / "edited.json"
    edited.write_text(json.dumps(content))
    said = refusal(lambda: run(TRAININGS["unet"], finished, moved, resume="auto", datalist=str(edited)))
    assert "datalist is a file with the SHA-256" in said


@pytest.mark.slow
def test_a_finished_run_is_extended_with_more_epochs(finished: Path, data: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "extended"
    shutil.copytree(finished, root)
    run(TRAININGS["unet"], root, data["studies"], resume="auto", epochs=EPOCHS + 2)
    state = state_of(root)
    assert state["progress"] == {"epoch": EPOCHS + 2, "max_epochs": EPOCHS + 2, "ended": True}
    assert state["parts"]["lr_scheduler"]["begun"] == state_of(finished)["parts"]["lr_scheduler"]["planned"] > 0
