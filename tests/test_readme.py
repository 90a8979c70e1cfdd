"""The README's commands, run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    readme = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"<!-- executed by tests/test_readme.py -->\n```sh\n(.*?)```", readme, re.DOTALL)
    return [line for line in block.splitlines() if line.strip()]


def test_the_readmes_commands_run_one_after_the_other(tmp_path: Path) -> None:
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
    shutil.rmtree(tmp_path / "work")


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_readmes_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
