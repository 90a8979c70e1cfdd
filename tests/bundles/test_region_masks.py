"""The shipped masks.json: regions learnt from masks, with phantoms between them."""

from pathlib import Path

import pytest
import torch

from tests.bundles.runs import ROOT, run
from tests.monai_spine.measures.test_masks import SIMPLE, write_study

CONFIGS = ROOT / "bundles/lumbar_level_localizer/configs"


@pytest.mark.slow
def test_regions_are_learnt_from_masks(tmp_path: Path) -> None:
    for name in "abcd":
        write_study(tmp_path / "data" / name, SIMPLE)
    settings = {"epochs": 1, "images_per_epoch": 2, "grid_size": [3, 32, 32], "network_def#channels": [4, 8, 8, 8]}
    where = {"dataset_dir": str(tmp_path / "data"), "bundle_root": str(tmp_path / "run")}
    run("train", "masks", run_id="training", configs=CONFIGS, **settings, **where, **{"train#masked#repeats": 2})
    weights = torch.load(tmp_path / "run/models/model.pt", weights_only=True)
    assert all(torch.isfinite(one).all() for one in weights.values() if one.is_floating_point())
