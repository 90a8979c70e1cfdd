"""The commands of docs/ensembles.md, run as they stand there, and how the commands end on bad input."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.monai_spine.out_of_fold.files import part, simulated, written

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def shell(command: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


def test_the_documented_commands_run_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    text = (ROOT / "docs" / "ensembles.md").read_text()
    (block,) = re.findall(r"<!-- executed by .*? -->\n```sh\n(.*?)```", text, re.DOTALL)
    for command in block.splitlines():
        done = shell(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
        assert done.stderr == ""
    work = tmp_path / "work"
    assert json.loads((work / "metrics.json").read_text())["schema"] == "monai_spine/metrics/1"
    assert "stacked" in json.loads((work / "stacked" / "report.json").read_text())["scores"]
    for file in (
        "calibrated/calibrated.csv",
        "new_calibrated/weighted.csv",
        "stacked/predictions.csv",
        "test/predictions.csv",
    ):
        assert len(pd.read_csv(work / file)) == 60 * 25
    assert (work / "audit" / "audit.html").is_file()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("calibrate solution.csv -o out", "expected SOLUTION and SUBMISSION"),
        ("calibrate solution.csv model_1.csv --apply calibration.json -o out", "one submission with --apply"),
        ("ensemble model_1.csv -o out", "at least two submissions"),
        ("ensemble model_1.csv model_2.csv --apply e.json --method stacked -o out", "neither --solution nor --method"),
        ("audit solution.csv model_1.csv -o out --threshold 2", "--threshold 2"),
        ("metrics solution.csv none.csv", "none.csv"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(command: str, message: str, tmp_path: Path) -> None:
    written(tmp_path, part(simulated(), slice(3)))
    done = shell(f"monai-spine {command}", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["metrics", "calibrate", "ensemble", "audit"])
def test_help_shows_an_example_and_imports_nothing_heavy(name: str) -> None:
    code = (
        "import sys; from monai_spine.cli import app; app(standalone_mode=False);"
        "assert not {'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, name, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"monai-spine {name}" in done.stdout
