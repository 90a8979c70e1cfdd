"""The settings of a training are checked before its process starts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monai_spine.bundle.planned_settings import parsed_value, refuse_settings
from monai_spine.bundle.run import training_configs
from monai_spine.bundle.shipped import BUNDLES
from monai_spine.commands.main import app
from monai_spine.errors import InvalidOptionError, InvalidTableError, SpineError
from tests.cohorts import write_cohort

GRADER = BUNDLES / "lumbar_25d_grader"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (("focall", "2"), "no setting 'focall'; did you mean 'loss#focal'"),
        (("loss#focall", "2"), "no setting 'loss#focall'; did you mean 'loss#focal'"),
        (("views#0#slice", "7"), "no setting 'views#0#slice'; did you mean 'views#0#slices'"),
        (("epoch", "3"), "did you mean 'epochs'"),
        (("epochs", "0"), "expected epochs as a whole number of at least 1, but found 0"),
        (("learning_rate", "-1"), "expected learning_rate as a number above 0"),
        (("pixels", "64"), "two whole numbers"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_right_one(setting: tuple[str, str], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        refuse_settings(training_configs(GRADER), (setting,))


@pytest.mark.parametrize("bundle", sorted(path.name for path in BUNDLES.iterdir() if (path / "configs").is_dir()))
def test_the_settings_of_every_shipped_bundle_and_preset_are_right(bundle: str) -> None:
    folder = BUNDLES / bundle
    presets = sorted((folder / "configs/presets").glob("*.json"))
    for preset in [[], *([path] for path in presets)]:
        try:
            configs = training_configs(folder, preset)
        except SpineError:
            pytest.skip(f"{bundle} has no evaluation to compare")
        refuse_settings(configs, (("epochs", "2"),))


def test_a_preset_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{")
    with pytest.raises(InvalidTableError, match=r"mine\.json"):
        refuse_settings([*training_configs(GRADER), tmp_path / "mine.json"], ())


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("[1, 2]", [1, 2]), ("adam", "adam"), ("True", True)])
def test_a_value_is_read_as_on_the_command_line(text: str, value: object) -> None:
    assert parsed_value(text) == value


@pytest.mark.parametrize("command", ["cv", "compare", "tune"])
@pytest.mark.parametrize("wrong", ["focall=2", "epochs=0", "epochs"])
def test_a_refused_run_leaves_no_folder(tmp_path: Path, command: str, wrong: str) -> None:
    datalist = write_cohort(tmp_path / "data")
    space = tmp_path / "space.json"
    space.write_text(json.dumps({"learning_rate": {"type": "float", "low": 0.001, "high": 0.01}}))
    own = {"cv": [], "compare": ["--presets", "default"], "tune": ["--space", str(space), "--trials", "1"]}[command]
    out = tmp_path / "out"
    line = [command, str(GRADER), "--data", str(datalist), "-o", str(out), "--set", wrong, *own]
    result = CliRunner().invoke(app, line)
    assert isinstance(result.exception, SpineError), result.output
    assert not out.exists()
