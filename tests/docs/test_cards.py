"""What readers of a bundle's card rely on: it names every setting of a training."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from monai_spine.bundle.shipped import BUNDLES

NAMES = sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/train.json"))
GROUPS = {
    *("augmentation", "embedding", "form", "layers", "loss", "lr_scheduler", "mixing", "network_def", "pictures"),
    *("start", "store", "thresholds"),
}
NO_SETTINGS = {"imports", "initialize", "network", "run", "splits", "training"}


def settings(values: dict[str, Any], group: str = "") -> Iterator[str]:
    """Settings at the top and within the groups that hold settings; what refers to another setting is none."""
    for name, value in values.items():
        if name.startswith("_") or name in NO_SETTINGS or (group and isinstance(value, str) and value[0] in "@$"):
            continue
        if not isinstance(value, dict):
            yield f"{group}{name}"
        elif group or name in GROUPS:
            yield from settings(value, f"{group}{name}#")


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_every_setting(name: str) -> None:
    """By the whole name (``--loss#focal``), by its last part beside others of its group, or as a list of its own."""
    card = (BUNDLES / name / "docs/README.md").read_text()
    every = list(settings(json.loads((BUNDLES / name / "configs/train.json").read_text())))
    assert len(every) > 15

    def is_named(setting: str) -> bool:
        last = setting.rpartition("#")[2]
        return bool(re.search(rf"--{re.escape(setting)}\b|`#{last}\b|`{last}`|`\w+(#\w+)*#{last}\b", card))

    assert [setting for setting in every if not is_named(setting)] == []


def test_the_check_of_cards_sees_groups_and_leaves_out_references() -> None:
    values = {"epochs": 3, "run": [], "loss": {"_target_": "a.B", "focal": 0.0, "images": "@images"}, "train": {"x": 1}}
    assert list(settings(values)) == ["epochs", "loss#focal"]


@pytest.mark.parametrize("name", NAMES)
def test_figures_of_the_metadata_stand_in_the_card(name: str) -> None:
    metrics = json.loads((BUNDLES / name / "configs/metadata.json").read_text()).get("eval_metrics", {})
    card = (BUNDLES / name / "docs/README.md").read_text()
    figures = [value for value in metrics.values() if isinstance(value, float)]
    assert [one for one in figures if f"{one:.3g}".lstrip("0") not in card] == []
