"""The commands of docs/first-steps.md, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    """Commands of the marked block, continued lines joined."""
    text = (ROOT / "docs" / "first-steps.md").read_text()
    (block,) = re.findall(r"<!-- executed by tests/docs/test_first_steps.py -->\n```sh\n(.*?)```", text, re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.slow
@pytest.mark.usefixtures("default_runtime")
def test_the_commands_of_the_first_steps_run_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "bundles").symlink_to(ROOT / "bundles")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in commands():
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    graded = pd.read_csv(tmp_path / "work" / "graded" / "predictions.csv")
    assert len(graded) == 3 * 25
    assert "prior" in done.stdout
