"""A transform of MONAI can be inserted between any two steps of a bundle's preprocessing, by a few lines of config."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, create_workflow

from monai_spine.bundle.shipped import BUNDLES
from monai_spine.images.data.datalist import Task
from tests.bundles import test_image_classifier as image
from tests.bundles import test_lumbar_25d_grader as grader
from tests.bundles import test_lumbar_level_localizer as levels
from tests.bundles import test_lumbar_recess_localizer as recesses
from tests.bundles.runs import SMALL as UNET_SMALL
from tests.cohorts import place_points, write_cohort
from tests.monai_spine.images.pictures import write_dataset

NOISE = {"_target_": "RandGaussianNoised", "keys": "image", "prob": 1.0, "mean": 5.0, "std": 0.1}
SMOOTH = {"_target_": "GaussianSmoothd", "keys": "image", "sigma": 2.0}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return place_points(write_cohort(tmp_path_factory.mktemp("studies"), studies=4)).parent


def parser_of(bundle: str, override: dict[str, Any], folder: Path, *names: str, **settings: Any) -> ConfigParser:
    """The training config with another file that changes it, as a user gives it after the shipped ones."""
    (folder / "mine.json").write_text(json.dumps(override))
    files = [str(BUNDLES / bundle / "configs" / f"{name}.json") for name in ("train", *names)]
    files.append(str(folder / "mine.json"))
    settings["bundle_root"] = str(folder)
    return create_workflow(config_file=files, workflow_type="train", run_id="run", **settings).parser


def item_of(bundle: str, override: dict[str, Any], folder: Path, **settings: Any) -> torch.Tensor:
    """The first image that the training would see."""
    parser = parser_of(bundle, override, folder, **settings)
    return torch.as_tensor(parser.get_parsed_content("train#dataset")[0]["image"])


STACK = json.loads((BUNDLES / "lumbar_unet_classifier/configs/train.json").read_text())["stack_transforms"]


@pytest.mark.parametrize("place", range(1, len(STACK) + 1))  # before the first one, nothing has been read
def test_the_unet_classifier_takes_it_at_every_step_of_a_stack(place: int, studies: Path, tmp_path: Path) -> None:
    where = {**UNET_SMALL, "dataset_dir": str(studies)}
    not_random = {"train#augmentation": [], "train#augmentation_of_input": []}
    changed = {**not_random, "stack_transforms": [*STACK[:place], SMOOTH, *STACK[place:]]}
    plain = item_of("lumbar_unet_classifier", not_random, tmp_path, **where)
    smoothed = item_of("lumbar_unet_classifier", changed, tmp_path, **where)
    assert smoothed.shape == plain.shape
    half = len(plain) // 2
    assert torch.equal(smoothed[half:], plain[half:])  # coverage
    assert smoothed[:half].diff(dim=-1).abs().mean() < plain[:half].diff(dim=-1).abs().mean()


@pytest.mark.parametrize("step", ["+reading", "+train#augmentation", "+to_input", "+train#augmentation_of_input",
                                  "+to_tensor"])  # fmt: skip
def test_the_unet_classifier_takes_it_after_every_step_of_a_study(step: str, studies: Path, tmp_path: Path) -> None:
    where = {**UNET_SMALL, "dataset_dir": str(studies)}
    plain = item_of("lumbar_unet_classifier", {}, tmp_path, **where)
    noisy = item_of("lumbar_unet_classifier", {step: [NOISE]}, tmp_path, **where)
    assert noisy.shape == plain.shape
    assert noisy.mean() > plain.mean() + 2


@pytest.mark.parametrize("place", [1, 2])
def test_the_level_grader_takes_it_between_its_steps(place: int, studies: Path, tmp_path: Path) -> None:
    noise = NOISE if place == 2 else {**NOISE, "keys": "disc", "mean": 0.0}
    steps = ["@train#cropping", "@stacking"]
    steps.insert(place, noise)
    where = {**grader.SMALL, "dataset_dir": str(studies)}
    plain = item_of("lumbar_25d_grader", {}, tmp_path, **where)
    noisy = item_of("lumbar_25d_grader", {"train#preprocessing#transforms": steps}, tmp_path, **where)
    assert noisy.shape == plain.shape
    assert not torch.equal(noisy, plain)


@pytest.mark.parametrize("bundle", [levels, recesses], ids=["levels", "recesses"])
def test_the_localizers_take_it(bundle: Any, tmp_path: Path) -> None:
    name = bundle.CONFIGS.parent.name
    plain = item_of(name, {}, tmp_path, **bundle.SMALL)
    noisy = item_of(name, {"+preprocessing#transforms": [NOISE]}, tmp_path, **bundle.SMALL)
    assert noisy.shape == plain.shape
    assert noisy.mean() > plain.mean() + 2


@pytest.mark.slow
@pytest.mark.parametrize("task", list(Task))
def test_the_image_classifier_trains_item_by_item_with_transforms_of_monai_and_torchvision(
    task: Task, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data", task)
    override = {"+item_transforms": [{**NOISE, "mean": 0.0}]}
    settings = {**image.SMALL, "epochs": 1, "mixing#mixup_alpha": 0.2, **image.NO_PICTURES}
    parser = parser_of("image_classifier", override, tmp_path, "item_transforms", dataset_dir=str(data), **settings)
    names = [type(one).__name__ for one in parser.get_parsed_content("item_transforms")]
    assert names == ["RandFlipd", "RandRotated", "RandTorchVisiond", "RandGaussianNoised"]
    parser.get_parsed_content("run")
    assert parser.get_parsed_content("train#trainer").state.iteration == 2
    assert (tmp_path / "models/model.pt").is_file()


def test_items_of_the_image_classifier_are_what_validation_sees(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", Task.MULTICLASS)
    override = {"item_transforms": []}
    settings = {**image.SMALL, "dataset_dir": str(data)}
    parser = parser_of("image_classifier", override, tmp_path, "item_transforms", **settings)
    preparation = parser.get_parsed_content("validate#preparation")
    items = next(iter(parser.get_parsed_content("train#dataloader")))
    positions = items["index"].tolist()
    dataset = parser.get_parsed_content("train#dataset").data
    expected, labels = preparation(dataset.__getitems__(positions))
    found, same = preparation(items)
    assert np.allclose(found, expected)
    assert torch.equal(same, labels)
