import json
from pathlib import Path

import optuna
import pytest

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.experiments.tuning.space import Choice, NumberRange, read_space
from tests.bundles.runs import CONFIGS, ROOT

TRAIN = [CONFIGS / "train.json"]
GOOD = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "network_def#dropout": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.25},
    "train#dataloader#batch_size": {"type": "int", "low": 2, "high": 8, "log": True},
    "network_def#channels#0": {"choices": [4, 8]},
    "train#augmentation": {"choices": {"none": [], "mirror": [{"_target_": "RandLateralFlipd"}]}},
    "length": {"sets": {"short": {"epochs": 2, "patience": 0}, "long": {"epochs": 9}}},
}


def write(folder: Path, content: object, name: str = "space.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_every_kind_of_entry_proposes_what_it_says(tmp_path: Path) -> None:
    space = read_space(write(tmp_path, GOOD), TRAIN)
    assert space.ids() == {*GOOD, "epochs", "patience"} - {"length"}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = [space.suggest(study.ask()) for _ in range(40)]
    assert all(1e-4 <= one["learning_rate"] <= 1e-2 for one in seen)
    assert {one["network_def#dropout"] for one in seen} == {0.0, 0.25, 0.5}
    assert {one["train#dataloader#batch_size"] for one in seen} == set(range(2, 9))
    assert {one["network_def#channels#0"] for one in seen} == {4, 8}
    assert {json.dumps(one["train#augmentation"]) for one in seen} == {"[]", '[{"_target_": "RandLateralFlipd"}]'}
    assert {(one["epochs"], one.get("patience")) for one in seen} == {(2, 0), (9, None)}


def test_a_plain_value_does_not_take_the_place_of_an_object(tmp_path: Path) -> None:
    for definition in ({"choices": ["a", "b"]}, {"type": "float", "low": 0, "high": 1}):
        with pytest.raises(InvalidTableError, match=r"loss: an object.*loss#any_severe"):
            read_space(write(tmp_path, {"loss": definition}), TRAIN)


def test_yaml_says_the_same_as_json_powers_of_ten_included(tmp_path: Path) -> None:
    text = (
        "learning_rate: {type: float, low: 1e-4, high: 1e-2, log: true}\nnetwork_def#dropout: {choices: [0.0, 0.5]}\n"
    )
    space = read_space(write(tmp_path, text, "space.yaml"), TRAIN)
    assert space.parameters["learning_rate"] == NumberRange(1e-4, 1e-2, log=True)
    assert space.parameters["network_def#dropout"] == Choice(
        {"0.0": {"network_def#dropout": 0.0}, "0.5": {"network_def#dropout": 0.5}}
    )


RANGE = {"type": "float", "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    ("name", "definition", "message"),
    [
        ("learnig_rate", RANGE, "no such id; similar ids: learning_rate"),
        ("train#dataloader#batchsize", RANGE, "similar ids: train#dataloader#batch_size"),
        ("fold", {"choices": [0, 1]}, "set by the search itself"),
        ("network_def#dropout", {**RANGE, "low": 2}, "low below high"),
        ("network_def#dropout", {**RANGE, "log": True}, "above 0 on a logarithmic scale"),
        ("network_def#dropout", {**RANGE, "low": 0.1, "log": True, "step": 0.1}, "either log or step"),
        ("network_def#dropout", {**RANGE, "step": 3}, "a step between"),
        ("network_def#dropout", {**RANGE, "lwo": 3}, "but found lwo"),
        ("network_def#dropout", {**RANGE, "high": "much"}, "high as a number"),
        ("network_def#dropout", {"type": "float", "low": 0}, "expected 'high'"),
        ("network_def#dropout", {"low": 0, "high": 1}, "the type 'float' or 'int'"),
        ("epochs", {"type": "int", "low": 1.5, "high": 3}, "whole numbers"),
        ("network_def#dropout", {"choices": [0.1]}, "at least two choices"),
        ("network_def#dropout", {"choices": [0.1, 0.1]}, "each choice once"),
        ("network_def#dropout", {"choices": 0.1}, "as a list"),
        ("length", {"sets": {"a": {"epochs": 1}}}, "at least two sets"),
        ("length", {"sets": {"a": {"epochs": 1}, "b": {"epoch": 1}}}, "epoch: .* similar ids: epochs"),
        ("network_def#dropout", 0.1, "expected an object"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, definition: object, message: str) -> None:
    with pytest.raises(InvalidTableError, match=message):
        read_space(write(tmp_path, {name: definition}), TRAIN)


def test_all_faults_are_named_at_once_and_no_id_is_set_twice(tmp_path: Path) -> None:
    content = {"dropuot": RANGE, "network_def#dropout": {**RANGE, "low": 2}, "fold": {"choices": [0, 1]}}
    with pytest.raises(InvalidTableError, match=r"dropout: .*dropuot: .*") as caught:
        read_space(write(tmp_path, content), TRAIN)
    assert "fold" in str(caught.value)
    twice = {"epochs": {"choices": [1, 2]}, "length": {"sets": {"a": {"epochs": 1}, "b": {"epochs": 2}}}}
    with pytest.raises(InvalidTableError, match="epochs: set by epochs and by length"):
        read_space(write(tmp_path, twice), TRAIN)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{a: b: c}", "- x\n- y\n"])
def test_a_file_that_is_no_space_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidTableError):
        read_space(write(tmp_path, text), TRAIN)
    with pytest.raises(MissingInputError):
        read_space(tmp_path / "none.json", TRAIN)


@pytest.mark.parametrize("path", sorted(ROOT.glob("bundles/*/configs/search/*")), ids=lambda path: path.stem)
def test_shipped_spaces_fit_their_bundles(path: Path) -> None:
    assert read_space(path, [path.parents[1] / "train.json"]).parameters
