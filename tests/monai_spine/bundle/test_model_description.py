"""The description beside weights, and the settings that are taken from it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_spine.bundle.configuration import EvaluatedConfiguration
from monai_spine.bundle.model_description import ModelDescription, description_path, read_description, write_description
from monai_spine.bundle.model_settings import describe, followed
from monai_spine.bundle.shipped import BUNDLES
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.training import best_model
from monai_spine.training.best_model import save_described

SHIPPED = sorted(path.parents[1] for path in BUNDLES.glob("*/models/model.pt"))
GRADER = BUNDLES / "lumbar_25d_grader"
WEIGHTS = Path("w.pt")


def training(bundle: Path, *presets: str, **changes: object) -> EvaluatedConfiguration:
    parser = ConfigParser()
    parser.read_config([str(bundle / f"configs/{name}.json") for name in ("train", *presets)])
    parser.update(changes)
    files = tuple(bundle / f"configs/{name}.json" for name in ("train", *presets))
    return EvaluatedConfiguration(parser, bundle / "configs", files)


def inference(bundle: Path, **changes: object) -> tuple[dict, dict]:
    """The configuration with changes, and as it is."""
    usual, parser = json.loads((bundle / "configs/inference.json").read_text()), ConfigParser()
    parser.read_config(str(bundle / "configs/inference.json"))
    parser.update(changes)
    return parser.get(), usual


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    description = ModelDescription(
        settings={"pixels": [32, 32]}, configs=("cosine",), trained_on="phantom", sha256=("a",)
    )
    write_description(tmp_path / "model.pt", description)
    assert read_description(tmp_path / "model.pt") == description
    assert read_description(tmp_path / "latest.pt") == description  # the state of the same run
    assert description_path("fold_3.pt") == Path("fold_3.json")


def test_a_description_of_other_weights_is_refused_whatever_it_says(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_described({"w": torch.rand(3)}, tmp_path / f"{name}.pt", ModelDescription(settings={"pixels": [32, 32]}))
        assert len(read_description(tmp_path / f"{name}.pt").sha256) == 1
    (tmp_path / "one.pt").replace(tmp_path / "two.pt")
    with pytest.raises(InvalidTableError, match=r"two\.json describes other weights than two\.pt.*copy both"):
        read_description(tmp_path / "two.pt")


def test_weights_and_description_belong_together_at_every_moment_of_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    save_described({"w": torch.zeros(1)}, path, ModelDescription())
    seen = []

    def watched(weights: Path, description: ModelDescription) -> None:
        write_description(weights, description)
        seen.append(read_description(weights).sha256)  # raises if it is of other weights

    monkeypatch.setattr(best_model, "write_description", watched)
    save_described({"w": torch.ones(1)}, path, ModelDescription())
    assert [len(one) for one in seen] == [2, 1]


def test_a_run_that_goes_on_leaves_the_checksum_of_the_weights_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    best_model.describe(path, ModelDescription())
    assert not json.loads(path.with_suffix(".json").read_text())["sha256"]
    save_described({"w": torch.zeros(1)}, path, ModelDescription())
    before = path.with_suffix(".json").read_bytes()
    best_model.describe(path, ModelDescription())
    assert path.with_suffix(".json").read_bytes() == before


def test_weights_without_a_readable_description_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"expected model\.json beside .*copy both"):
        read_description(tmp_path / "model.pt")
    for wrong in ("no json", "[]", json.dumps({"schema": "another"}), json.dumps({"schema": "x", "colour": 1})):
        (tmp_path / "model.json").write_text(wrong)
        with pytest.raises(InvalidTableError, match="expected monai_spine/model/1"):
            read_description(tmp_path / "model.pt")


@pytest.mark.parametrize("bundle", SHIPPED, ids=lambda path: path.name)
def test_the_shipped_descriptions_are_those_of_the_shipped_configurations(bundle: Path) -> None:
    shipped = read_description(bundle / "models/model.pt")
    assert shipped.sha256
    assert shipped.settings == describe(training(bundle)).settings
    assert shipped.trained_on == "phantom"
    assert followed(*inference(bundle), shipped, WEIGHTS) == {}


def test_the_settings_of_a_training_are_taken_over_however_they_were_given() -> None:
    options = {
        "pixels": [32, 32],
        "views#0#slices": 2,
        "network_def#dropout": 0.5,
        "network_def#features": "@few",
        "few": 16,
    }
    described = describe(training(GRADER, "presets/canal_only", **options))
    assert described.configs == ("canal_only",)
    assert not set(described.settings) & {"network_def#dropout", "learning_rate", "seed", "bundle_root"}
    expected = {"pixels": [32, 32], "network_def#features": 16, "conditions": ["spinal_canal_stenosis"]}
    assert followed(*inference(GRADER, **{"views#0#slices": 2}), described, WEIGHTS) == expected
    assert followed(*inference(GRADER), described, WEIGHTS) == {**expected, "views#0#slices": 2}


def test_weights_of_fewer_views_ask_for_the_files_of_their_training() -> None:
    config, usual = inference(GRADER)
    described = read_description(GRADER / "models/model.pt")
    fewer = {id_: value for id_, value in described.settings.items() if not id_.startswith("views#2")}
    described = replace(described, settings=fewer, configs=("two",))
    with pytest.raises(InvalidOptionError, match=r"trained without views#2.*files of the training \(two\)"):
        followed(config, usual, described, WEIGHTS)


def test_a_setting_that_is_stated_is_refused_though_it_is_the_usual_one() -> None:
    described = describe(training(GRADER, pixels=[32, 32]))
    config, usual = inference(GRADER)
    assert followed(config, usual, described, WEIGHTS)["pixels"] == [32, 32]
    with pytest.raises(InvalidOptionError, match=r"pixels = \[32, 32\], but \[64, 64\] is asked for"):
        followed(config, usual, described, WEIGHTS, frozenset({"pixels"}))


@pytest.mark.parametrize("name", [path.stem for path in sorted((GRADER / "configs/presets").glob("*.json"))])
def test_weights_of_a_preset_need_no_preset_and_take_none_but_their_own(name: str) -> None:
    described, plain = describe(training(GRADER, f"presets/{name}")), read_description(GRADER / "models/model.pt")
    assert set(followed(*inference(GRADER), described, WEIGHTS)) == {
        id_ for id_, value in described.settings.items() if plain.settings.get(id_) != value
    }
    with_preset = ConfigParser()
    with_preset.read_config([str(GRADER / f"configs/{one}.json") for one in ("inference", f"presets/{name}")])
    assert followed(with_preset.get(), inference(GRADER)[1], described, WEIGHTS) == {}
    if described.settings != plain.settings:
        with pytest.raises(InvalidOptionError, match=r"is asked for; leave the setting out|was trained without"):
            followed(with_preset.get(), inference(GRADER)[1], plain, WEIGHTS)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"pixels": [96, 96]}, r"w\.pt was trained with pixels = \[32, 32\], but \[96, 96\] is asked for"),
        ({"views#0#slices": 9}, r"w\.pt was trained without views#0#slices"),
        ({"conditions": ["spinal_canal_stenosis"]}, "trained with conditions = None"),
        ({"network_def#_target_": "other.Network"}, "trained with network_def#_target_ = 'LevelGrader'"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(option: dict, message: str) -> None:
    described = describe(training(GRADER, pixels=[32, 32]))
    with pytest.raises(InvalidOptionError, match=message):
        followed(*inference(GRADER, **option), described, WEIGHTS)


def test_parts_that_a_training_added_must_be_given_again() -> None:
    fourth = {"_target_": "monai_spine.crops.view.grader_view", "name": "disc"}
    config = training(GRADER)
    config.parser["views"] = [*config.parser["views"], fourth]
    with pytest.raises(
        InvalidOptionError, match=r"views#3#_target_ = 'grader_view', which this configuration does not"
    ):
        followed(*inference(GRADER), describe(config), WEIGHTS)


@pytest.mark.parametrize("code", ["$__import__('os').system('true')", "@device", ["%x"], {"_target_": "os.system"}])
def test_a_description_is_data(code: object) -> None:
    with pytest.raises(InvalidTableError, match="expected a plain value of pixels"):
        followed(*inference(GRADER), ModelDescription(settings={"pixels": code}), WEIGHTS)
