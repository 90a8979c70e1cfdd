"""The shipped schedules, for trainings of any length."""

import json
from pathlib import Path

import pytest
import torch

from tests.bundles.runs import ROOT

CONFIGS = [
    path
    for path in sorted((ROOT / "bundles").glob("*/configs/train.json"))
    if "pct_start" in json.loads(path.read_text()).get("lr_scheduler", {})
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parts[-3])
def test_one_cycle_fits_any_number_of_steps(config: Path) -> None:
    rise = json.loads(config.read_text())["lr_scheduler"]["pct_start"]
    for steps in range(1, 60):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, pct_start=rise)
        for _ in range(steps - 1):
            optimizer.step()
            schedule.step()
            assert 0 < schedule.get_last_lr()[0] <= 1.0
