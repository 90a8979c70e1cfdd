from pathlib import Path

import pytest

from monai_spine.errors import InvalidOptionError, MissingInputError
from monai_spine.experiments.comparison.candidate import backbones, presets
from tests.bundles.runs import ROOT

GRADER = ROOT / "bundles/lumbar_25d_grader"
UNET = ROOT / "bundles/lumbar_unet_classifier"
PER_CONDITION = "canal_only/left_foramina_only/right_foramina_only/left_recesses_only/right_recesses_only"


def test_presets_are_files_the_later_first_in_rank() -> None:
    plain, one, both = presets(GRADER, ["default", "efficientnet_b0", "mine=efficientnet_b0+convnext_nano_gated"])
    assert [[path.stem for path in part.configs] for part in plain.parts] == [["train"]]
    assert (plain.name, one.name, both.name) == ("default", "efficientnet_b0", "mine")
    assert one.parts[0].entry("backbones") == ["efficientnet_b0"]
    assert both.parts[0].entry("backbones") == ["convnext_nano"]
    assert (
        both.parts[0].entry("optimizer#params#weight_decay")
        == plain.parts[0].entry("optimizer#params#weight_decay")
        == 0.05
    )


def test_a_model_for_each_condition_is_one_candidate() -> None:
    (candidate,) = presets(GRADER, [f"per_condition={PER_CONDITION}"])
    assert candidate.name == "per_condition"
    assert [len(part.entry("conditions")) for part in candidate.parts] == [1] * 5
    with pytest.raises(InvalidOptionError, match="every condition"):
        presets(GRADER, ["canal_only/plateau"])
    with pytest.raises(InvalidOptionError, match="and so is canal_only"):
        presets(GRADER, ["canal_only/canal_only+plateau"])


def test_backbones_replace_all_of_the_bundle() -> None:
    candidates = backbones(GRADER, [Path("convnext_nano_two_planes")], ["resnet18", " test_resnet"])
    assert [dict(one.parts[0].settings)["backbones"] for one in candidates] == [
        "['resnet18', 'resnet18']",
        "['test_resnet', 'test_resnet']",
    ]
    with pytest.raises(InvalidOptionError, match="neither 'backbone' nor 'backbones'"):
        backbones(UNET, [], ["resnet18"])


def test_settings_come_last() -> None:
    (one,) = presets(GRADER, ["efficientnet_b0"], (("network_def#features", "16"), ("pixels", "[8, 8]")))
    assert (one.parts[0].entry("network_def#features"), one.parts[0].entry("pixels")) == ("16", "[8, 8]")


@pytest.mark.parametrize("texts", [["default", "default"], [""], ["default", ""], ["..=default"]])
def test_names_are_those_of_folders_each_once(texts: list[str]) -> None:
    with pytest.raises((InvalidOptionError, MissingInputError)):
        presets(GRADER, texts)


def test_as_many_backbones_are_replaced_as_the_configuration_has_whatever_was_set() -> None:
    (one,) = backbones(GRADER, [], ["resnet18"], (("backbones", "['a', 'b', 'c']"),))
    configured = presets(GRADER, ["default"])[0].parts[0].entry("backbones")
    assert dict(one.parts[0].settings)["backbones"] == str(["resnet18"] * len(configured))
