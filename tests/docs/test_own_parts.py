"""The parts of the page "Make it your own": each is used by a bundle as the page says, and all train together."""

import json
import re
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from monai.bundle import create_workflow

from monai_spine.bundle.errors import explanation
from monai_spine.grading.grader import Grader
from tests.bundles.runs import CONFIGS, ROOT, SMALL
from tests.cohorts import write_cohort

PAGE = (ROOT / "docs/how-to/own-parts.md").read_text()
NAMES = ["transform", "network", "loss", "preset", "handler"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The configuration files of the page, beside ``mine.py``, which Python finds."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text("\n\n".join(blocks("python")))
    files = {name: folder / f"{name}.json" for name in NAMES}
    for path, text in zip(files.values(), blocks("json"), strict=True):
        assert f"`{path.name}`" in PAGE
        path.write_text(text)
    sys.path.insert(0, str(folder))
    yield files
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data"), studies=4).parent


def workflow(files: list[Path], data: Path, root: Path, **changes: object):
    # network.json replaces the network, and with it the settings that shrink the shipped one
    small = {name: value for name, value in SMALL.items() if not name.startswith("network_def")}
    where = {"dataset_dir": str(data), "bundle_root": str(root), **small, "epochs": 1, **changes}
    names = [str(CONFIGS / "train.json"), *map(str, files)]
    return create_workflow(config_file=names, workflow_type="train", run_id="training", **where)


def test_every_part_is_short() -> None:
    for block in blocks("python"):
        code = [line for line in block.splitlines() if line.strip() and not line.startswith(("import", "from"))]
        assert len(code) <= 12, textwrap.shorten(block, 80)


ENTRIES = {
    "transform": ("train#augmentation", "RandDarkerd"),
    "network": ("network_def", "SmallClassifier"),
    "loss": ("loss", "ExpectedGradeLoss"),
    "handler": ("train#handlers", "Stopwatch"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_part_takes_its_place(name: str, parts: dict[str, Path], data: Path, tmp_path: Path) -> None:
    entry, expected = ENTRIES[name]
    content = workflow([parts[name]], data, tmp_path).parser.get_parsed_content(entry)
    made = content[-1] if isinstance(content, list) else content
    assert type(made).__name__ == expected


def test_a_preset_changes_settings(parts: dict[str, Path], data: Path, tmp_path: Path) -> None:
    config = workflow([parts["preset"]], data, tmp_path).parser.get()
    wanted = json.loads(parts["preset"].read_text())
    assert config["learning_rate"] == wanted["learning_rate"]
    assert config["optimizer"]["weight_decay"] == wanted["optimizer#weight_decay"]
    assert config["train"]["augmentation"][0]["prob"] == wanted["train#augmentation#0#prob"]


@pytest.mark.slow
def test_all_of_them_train_together_and_the_weights_are_used_with_their_file(
    parts: dict[str, Path], data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = workflow(list(parts.values()), data, tmp_path)
    run.run()
    run.finalize()
    assert "epoch 1 took" in "".join(capfd.readouterr())
    assert set(torch.load(tmp_path / "models/model.pt", weights_only=True)) == {
        *("body.0.weight", "body.0.bias", "head.weight", "head.bias")
    }
    grader = Grader.from_bundle(CONFIGS.parent, tmp_path / "models", presets=[str(parts["network"])])
    assert type(grader.networks[0]).__name__ == "SmallClassifier"
    with pytest.raises(Exception, match="trained with network_def#_target_ = 'SmallClassifier'") as caught:
        Grader.from_bundle(CONFIGS.parent, tmp_path / "models")
    assert explanation(caught.value)
