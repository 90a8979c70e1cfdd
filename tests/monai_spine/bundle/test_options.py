"""Which entries of a configuration nothing knows."""

import pytest
from monai.bundle import ConfigParser

from monai_spine.bundle.errors import explanation
from monai_spine.bundle.known_settings import KnownSettings
from monai_spine.bundle.options import unknown_entries

BUNDLE = {
    "imports": ["$import os"],
    "epochs": 12,
    "learning_rate": 0.1,
    "network": {"_target_": "torch.nn.Linear", "in_features": 2},
    "train": {"dataset": "@records", "handlers": []},
    "training": "%run",
}
KNOWN = KnownSettings(BUNDLE)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("epoch", "no setting 'epoch'; did you mean 'epochs'?"),
        ("learningrate", "no setting 'learningrate'; did you mean 'learning_rate'?"),
        ("nothing_like_it", "no setting 'nothing_like_it'; see the bundle's docs/README.md"),
    ],
)
def test_an_unknown_entry_is_named_with_the_nearest_ones(option: str, message: str) -> None:
    assert unknown_entries({**BUNDLE, option: 3}, KNOWN) == [message]


def test_an_entry_of_a_group_is_checked_and_may_have_been_meant_for_the_top_level() -> None:
    wrong = {**BUNDLE, "train": {**BUNDLE["train"], "datasets": 1, "epochs": 3}}
    assert unknown_entries(wrong, KNOWN) == [
        "no setting 'train#datasets'; did you mean 'train#dataset'?",
        "no setting 'train#epochs'; did you mean 'epochs'?",
    ]


def test_an_argument_that_a_class_does_not_take_is_named_with_the_nearest_ones() -> None:
    wrong = {**BUNDLE, "network": {**BUNDLE["network"], "out_feature": 3}}
    assert unknown_entries(wrong, KNOWN) == [
        "no setting 'network#out_feature'; did you mean 'network#out_features' or 'network#in_features'?"
    ]
    right = {**BUNDLE, "network": {**BUNDLE["network"], "out_features": 3}}
    assert unknown_entries(right, KNOWN) == []


@pytest.mark.parametrize("target", ["torch.optim.no_such_class", "builtins.dict", 3])
def test_an_object_whose_arguments_are_not_known_takes_any(target: object) -> None:
    assert unknown_entries({**BUNDLE, "network": {"_target_": target, "anything": 3}}, KNOWN) == []


def test_an_argument_without_its_object_is_found() -> None:
    (message,) = unknown_entries({**BUNDLE, "in_feature": 3}, KNOWN)
    assert message == "no setting 'in_feature'; did you mean 'network#in_features'?"


@pytest.mark.parametrize("reference", ["@few", "$2 * @few", "%few", ["@few"], {"inner": {"deep": "@few#part"}}])
def test_an_entry_that_another_one_uses_is_known(reference: object) -> None:
    assert unknown_entries({**BUNDLE, "epochs": reference, "few": {"part": 2}}, KNOWN) == []


def test_what_monai_and_its_tracking_read_by_name_is_known() -> None:
    asked = {"output_dir": "x", "val_interval": 2, "experiment_name": "a", "run_name": "b", "_desc_": "words"}
    assert unknown_entries({**BUNDLE, **asked}, KNOWN) == []


def test_the_configuration_that_is_being_evaluated_is_found() -> None:
    content = {"imports": ["$import monai_spine.bundle.options as options"], "check": "$options.refuse_unknown()"}
    ConfigParser({**content, "epochs": 2, "run": "$@epochs", "uses": "@check"}).get_parsed_content("run")
    parser = ConfigParser({**content, "initialize": "@check", "lonely": 3})
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("initialize")
    assert "no setting 'lonely'" in str(explanation(caught.value))
