"""The commands of docs/how-to/ensembles.md, run as they stand there, and how the commands end on bad input."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import simulated_models
from monai_spine.commands.main import main
from tests.monai_spine.tables.files import part, simulated, written

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a command line in an empty folder, in this process, and returns its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> int:
        words = shlex.split(line)
        if words[:2] == ["python", "benchmarks/simulated_models.py"]:
            monkeypatch.setattr(sys, "argv", words[1:])
            simulated_models.main()
            return 0
        assert words[0] == "monai-spine"
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    return run


@pytest.mark.slow
def test_the_documented_commands_run_one_after_the_other(run, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "how-to" / "ensembles.md").read_text()
    (block,) = re.findall(r"<!-- executed by .*? -->\n```sh\n(.*?)```", text, re.DOTALL)
    for command in block.replace("\\\n", " ").splitlines():
        assert run(command) == 0, command
    work = tmp_path / "work"
    assert json.loads((work / "metrics.json").read_text())["schema"] == "monai_spine/metrics/1"
    assert "stacked" in json.loads((work / "stacked" / "report.json").read_text())["scores"]
    for file in ("calibrated/calibrated.csv", "new_calibrated/weighted.csv", "test/predictions.csv"):
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
def test_bad_input_ends_with_2_and_one_line(command: str, message: str, run, tmp_path: Path, capsys) -> None:
    written(tmp_path, part(simulated(), slice(3)))
    assert run(f"monai-spine {command}") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_help_shows_an_example_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom monai_spine.commands.main import app\n"
        "for name in ('metrics', 'calibrate', 'ensemble', 'audit'):\n"
        "    app([name, '--help'], standalone_mode=False)\n"
        "assert not {'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("metrics", "calibrate", "ensemble", "audit"):
        assert f"  monai-spine {name}" in done.stdout
