"""Values that settings cannot have are refused before anything is made of them."""

import json

import pytest
from monai.bundle import create_workflow

from monai_spine.bundle.errors import explanation
from monai_spine.bundle.setting_values import RULES, impossible_values, setting_of
from monai_spine.bundle.shipped import BUNDLES

STANDARDISE = "expected network_def#standardise as True or False, but found 'false'"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "expected epochs as a whole number of at least 1, but found 0"),
        ({"epochs": 2.5}, "expected epochs as a whole number of at least 1, but found 2.5"),
        ({"batch_size": True}, "expected batch_size as a whole number of at least 1, but found True"),
        ({"learning_rate": -1}, "expected learning_rate as a number above 0, but found -1"),
        ({"learning_rate": float("nan")}, "expected learning_rate as a number above 0, but found nan"),
        ({"network_def#dropout": 1.5}, "expected network_def#dropout as a number from 0 to 1, but found 1.5"),
        ({"pixels": 64}, 'expected pixels as two whole numbers, such as "[64,64]", but found 64'),
        ({"pixels": [64, 0]}, 'expected pixels as two whole numbers, such as "[64,64]", but found [64, 0]'),
        (
            {"backbones": "a"},
            "expected backbones as a list of names, such as \"['resnet18']\", but found 'a'",
        ),
        ({"mixing#manifold_mixup": "a"}, "expected mixing#manifold_mixup as a number from 0 to 1, but found 'a'"),
        ({"loss#ordinal": 2}, "expected loss#ordinal as a number from 0 to 1, but found 2"),
        ({"network_def#validity": "yes"}, "expected network_def#validity as True or False, but found 'yes'"),
        ({"network_def": {"standardise": "false"}}, STANDARDISE),
        ({"start#compiled": "true"}, "expected start#compiled as True or False, but found 'true'"),
    ],
    ids=str,
)
def test_an_impossible_value_is_named_with_what_was_expected(setting: dict, message: str) -> None:
    assert impossible_values(setting) == [message]


def test_an_unknown_condition_is_refused_with_the_known_ones() -> None:
    (message,) = impossible_values({"conditions": ["canal"]})
    assert "out of spinal_canal_stenosis, left_neural_foraminal_narrowing" in message
    assert message.endswith("but found ['canal']")


@pytest.mark.parametrize("value", ["$2 * 3", "@few", ["@few", 3]])
def test_expressions_are_left_to_monai(value: object) -> None:
    assert impossible_values({"epochs": value, "pixels": value}) == []


@pytest.mark.parametrize(
    "path", [*BUNDLES.glob("*/configs/*.json"), *BUNDLES.glob("*/configs/presets/*.json")], ids=lambda path: path.stem
)
def test_the_shipped_configurations_have_possible_values(path) -> None:
    assert impossible_values(json.loads(path.read_text())) == []


def test_every_rule_is_of_a_shipped_setting() -> None:
    paths = [*BUNDLES.glob("*/configs/*.json"), *BUNDLES.glob("*/configs/presets/*.json")]
    shipped = [json.loads(path.read_text()) for path in paths]

    def has(config: dict, id_: str) -> bool:
        try:
            setting_of(config, id_)
        except KeyError:
            return False
        return True

    assert [id_ for id_ in RULES if not any(has(config, id_) for config in shipped)] == []


def test_a_run_ends_before_it_makes_anything() -> None:
    config = str(BUNDLES / "lumbar_25d_grader/configs/train.json")
    with pytest.raises(RuntimeError) as caught:
        create_workflow(config_file=[config], workflow_type="train", epochs=0, pixels=64)
    message = explanation(caught.value)
    assert message is not None
    assert message.startswith("expected epochs as a whole number of at least 1, but found 0; expected pixels")
