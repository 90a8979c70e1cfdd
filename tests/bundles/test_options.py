"""A mistyped option of any shipped bundle ends with one line, before anything is read or written."""

import json
from pathlib import Path

import pytest
from monai.bundle import create_workflow

from monai_spine.bundle.errors import explanation
from monai_spine.bundle.planned_settings import refuse_settings
from monai_spine.bundle.run import training_configs
from monai_spine.errors import InvalidOptionError
from tests.bundles.runs import ROOT, command

BUNDLES = sorted((ROOT / "bundles").iterdir())
STEPS = [("train", "train"), ("inference", "infer")]


def start(bundle: Path, *names: str, kind: str = "train", **options: object) -> None:
    """Everything before a run's first step."""
    files = [str(bundle / "configs" / f"{name}.json") for name in names]
    create_workflow(config_file=files, workflow_type=kind, **options)


@pytest.mark.parametrize(("name", "kind"), STEPS)
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_a_mistyped_option_is_refused_with_the_nearest_name(bundle: Path, name: str, kind: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        start(bundle, name, kind=kind, epoch=3)
    assert explanation(caught.value) == "no setting 'epoch'; did you mean 'epochs'?"


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_options_of_objects_and_of_groups_are_told_from_mistyped_ones(bundle: Path) -> None:
    start(bundle, "train", **{"train#trainer#max_epochs": 3})
    with pytest.raises(RuntimeError) as caught:
        start(bundle, "train", **{"train#batch_size": 3})
    assert explanation(caught.value) == "no setting 'train#batch_size'; did you mean 'batch_size'?"


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("mixup", "mixing#mixup"),
        ("any_severe", "loss#any_severe"),
        ("mix_levels", "mixing#levels"),
        ("ema_momentum", "ema#momentum"),
        ("weight_decay", "optimizer#params#weight_decay"),
        ("channels_last", "start#channels_last"),
        ("accumulation_steps", "train#trainer#accumulation_steps"),
        ("train#augmentation#rotation", "augmentation#rotation"),
        ("network_def#backbone", "network_def#backbones"),
        ("train#cropping#bad_volumes", "train#cropping#bad_volume"),
        ("optimizer#params#layer_decays", "optimizer#params#layer_decay"),
        ("loss#mixup", "mixing#mixup"),
    ],
)
def test_a_setting_is_found_by_its_last_name_wherever_it_stands(option: str, meant: str) -> None:
    configs = training_configs(ROOT / "bundles/lumbar_25d_grader")
    with pytest.raises(InvalidOptionError, match=f"^no setting '{option}'; did you mean '{meant}'"):
        refuse_settings(configs, ((option, "1"),))


@pytest.mark.parametrize("value", ["2", "'mean'", "True"])
def test_a_plain_value_does_not_take_the_place_of_an_object(value: str) -> None:
    configs = training_configs(ROOT / "bundles/lumbar_25d_grader")
    with pytest.raises(InvalidOptionError, match=r"expected loss as an object.*'loss#any_severe'"):
        refuse_settings(configs, (("loss", value),))


def test_an_argument_that_the_loss_does_not_take_is_refused() -> None:
    bundle = ROOT / "bundles" / "lumbar_25d_grader"
    start(bundle, "train", **{"loss#focal": 2})
    with pytest.raises(RuntimeError) as caught:
        start(bundle, "train", **{"loss#focall": 2})
    assert str(explanation(caught.value)).startswith("no setting 'loss#focall'; did you mean 'loss#focal'")


@pytest.mark.parametrize(("name", "kind"), STEPS)
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_every_preset_starts_training_and_inference(bundle: Path, name: str, kind: str) -> None:
    for preset in sorted((bundle / "configs/presets").glob("*.json")):
        start(bundle, name, f"presets/{preset.stem}", kind=kind)


def test_files_of_a_user_may_define_what_they_use(tmp_path: Path) -> None:
    bundle = ROOT / "bundles" / "lumbar_unet_classifier"
    own = tmp_path / "own.json"
    content = {"steepness": 2.0, "learning_rate": "$0.001 * @steepness", "train#extra": [], "batch_size": "@few"}
    own.write_text(json.dumps(content))
    files = [str(bundle / "configs/train.json"), str(own)]
    with pytest.raises(RuntimeError) as caught:
        create_workflow(config_file=files, workflow_type="train", few=2)
    assert "no setting 'train#extra'" in str(explanation(caught.value))
    create_workflow(config_file=files, workflow_type="train", few=2, **{"train#dataset#data": "@train#extra"})


@pytest.mark.slow
def test_the_command_ends_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = command("train", run_id="training", bundle_root=str(tmp_path), dataset_dir=str(tmp_path / "none"), epoch=3)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: no setting 'epoch'; did you mean 'epochs'?"
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
