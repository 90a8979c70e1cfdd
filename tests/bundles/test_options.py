"""A mistyped option of any shipped bundle ends with one line, before anything is read or written."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from monai.bundle import ConfigParser, create_workflow

from monai_spine.bundle.errors import explanation
from monai_spine.bundle.object_arguments import arguments_of
from monai_spine.bundle.options import refuse_none
from monai_spine.bundle.planned_settings import refuse_settings
from monai_spine.bundle.run import training_configs
from monai_spine.errors import InvalidOptionError
from tests.bundles.runs import ROOT

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
def test_an_inference_refuses_the_options_of_a_training(bundle: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        start(bundle, "inference", kind="infer", epochs=3)
    assert explanation(caught.value) == (
        "setting 'epochs' needs train.json, which is not among the files of --config_file"
    )


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


@pytest.mark.parametrize("option", ["mixing#mixup", "mixup"])
def test_a_setting_is_found_by_its_first_word(option: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"^no setting '{option}'; did you mean 'mixing#mixup_alpha'"):
        refuse_settings(training_configs(ROOT / "bundles/image_classifier"), ((option, "1"),))


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


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_in_every_object_of_a_training_a_mistyped_argument_is_refused(bundle: Path) -> None:
    configs = [bundle / "configs/train.json"]
    objects = list(objects_of(json.loads(configs[0].read_text())))
    assert len(objects) > 10
    for id_, item in objects:
        taken = arguments_of(item["_target_"]).names
        for name in [one for one in item if not one.startswith("_")][:1] or [*taken[:1], "focal"][:1]:
            with pytest.raises(InvalidOptionError, match=f"^no setting '{id_}#{name[:-1]}{name[-1] * 2}'"):
                refuse_settings(configs, ((f"{id_}#{name[:-1]}{name[-1] * 2}", "1"),))


def objects_of(value: object, id_: str = "") -> Iterator[tuple[str, dict]]:
    """All objects within a configuration, with their ids."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in pairs:
        place = f"{id_}#{name}" if id_ else str(name)
        if isinstance(inner, dict) and "_target_" in inner:
            yield place, inner
        yield from objects_of(inner, place)


@pytest.mark.parametrize(
    ("bundle", "files", "option"),
    [
        ("lumbar_25d_grader", ["train"], "tta"),
        ("lumbar_25d_grader", ["train"], "ckpt_path"),
        ("lumbar_25d_grader", ["inference"], "tta"),
        ("image_classifier", ["train"], "replicates"),
    ],
)
def test_a_setting_of_a_file_that_was_not_given_is_refused_with_that_file(
    bundle: str, files: list[str], option: str
) -> None:
    with pytest.raises(RuntimeError) as caught:
        start(ROOT / "bundles" / bundle, *files, kind="infer" if "inference" in files else "train", **{option: "flip"})
    expected = f"setting {option!r} needs evaluate.json, which is not among the files of --config_file"
    assert explanation(caught.value) == expected


def test_settings_of_several_files_are_known_where_they_are_given() -> None:
    grader = ROOT / "bundles/lumbar_25d_grader"
    with pytest.raises(RuntimeError) as caught:
        start(grader, "train", sync_batch_norm=True)
    assert "needs multi_gpu_train.json" in str(explanation(caught.value))
    configs = [grader / f"configs/{name}.json" for name in ("train", "multi_gpu_train")]
    refuse_settings(configs, (("sync_batch_norm", "True"),))


@pytest.mark.parametrize("bundle", ["lumbar_25d_grader", "image_classifier"])
@pytest.mark.parametrize(
    ("option", "meant"),
    [("optimizer#weight_decay", "optimizer#params#weight_decay"), ("optimizer#lr", "learning_rate")],
)
def test_a_setting_of_the_optimizer_that_its_groups_override_is_refused(bundle: str, option: str, meant: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"^setting '{option}' has no effect; did you mean '{meant}'"):
        refuse_settings(training_configs(ROOT / "bundles" / bundle), ((option, "0.9"),))
    refuse_settings(training_configs(ROOT / "bundles/lumbar_unet_classifier"), (("optimizer#weight_decay", "0.9"),))


@pytest.mark.parametrize(
    ("bundle", "option"),
    [
        ("lumbar_25d_grader", "lr_scheduler#fctor"),
        ("lumbar_25d_grader", "preset"),
        ("lumbar_recess_localizer", "mixup"),
    ],
)
def test_names_that_are_not_near_are_not_offered(bundle: str, option: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"^no setting '{option}'; see the bundle's docs/README.md$"):
        refuse_settings(training_configs_of(bundle), ((option, "1"),))


def training_configs_of(bundle: str) -> list[Path]:
    return [ROOT / "bundles" / bundle / "configs/train.json"]


@pytest.mark.parametrize("words", [["--conditions", "None"], ["--pretrained=None"]])
def test_none_which_monai_leaves_out_is_refused_with_what_to_write(words: list[str]) -> None:
    program = "/usr/lib/python3/site-packages/monai/bundle/__main__.py"
    name = words[0].partition("=")[0]
    with pytest.raises(InvalidOptionError, match=rf"^MONAI leaves out {name} None; write {name} '\$None'$"):
        refuse_none([program, "run", "training", *words], ConfigParser({name[2:]: "hub"}))
    with pytest.raises(InvalidOptionError, match="MONAI leaves out"):
        refuse_none([program, "run", "training", *words], ConfigParser({}))
    refuse_none([program, "run", "training", *words], ConfigParser({name[2:]: None}))
    refuse_none([program, "run", "training", "--logging_file", "None", name, "$None"], ConfigParser({}))
    refuse_none(["monai-spine", "run", "training", *words], ConfigParser({name[2:]: "hub"}))


def test_none_of_an_option_is_that_of_a_file() -> None:
    grader = ROOT / "bundles/lumbar_25d_grader/configs"
    workflow = create_workflow(config_file=[str(grader / "train.json")], workflow_type="train", cache_dir="$None")
    assert workflow.parser["cache_dir"] is None


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
