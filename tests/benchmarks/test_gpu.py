"""The table of the GPU, shrunk, as its script prints it."""

import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks import gpu
from benchmarks.constraints import requirements

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_row_of_the_table_runs_shrunk_on_a_cpu(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    command = [str(ROOT / "benchmarks/gpu.sh"), "--tiny", "--device", "cpu", "-o", str(table)]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = table.read_text().splitlines()
    assert lines == ran.stdout.splitlines()
    rows = [line for line in lines if line.startswith(("| lumbar_", "| image_"))]
    assert {row.split()[1] for row in rows} == {path.name for path in (ROOT / "bundles").iterdir() if path.is_dir()}
    assert any(line.startswith("DistributedDataParallel, one process: an epoch") for line in lines)
    assert any(line.startswith("| levels and grades |") for line in lines)


NOT_MEASURED = {"simpleitk", "highdicom", "reportlab"}
THERE = ("torch", "torchvision", "timm", "numpy", "scipy", "pandas", "scikit-learn")
"""What the script asks of the machine."""


def needed(names: Iterable[str]) -> set[str]:
    """Packages, and all that these need with the Python that the wheels are for."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        if (name := waiting.pop()) in found:
            continue
        found.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # what another system or Python needs
            continue
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": "", "python_version": "3.12"}):
                waiting.append(canonicalize_name(requirement.name))
    return found


def test_the_wheels_are_all_that_a_machine_with_torch_lacks(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    ran = subprocess.run(
        [str(ROOT / "benchmarks/gpu.sh"), "wheels"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHON": str(python), "PATH": "/usr/bin:/bin"},
    )
    carried = {canonicalize_name(word) for word in ran.stdout.split()}
    core = {canonicalize_name(one.name) for one in requirements(())}
    lacking = needed(core - NOT_MEASURED) - needed(THERE) - carried
    assert lacking == set()


def test_rows_for_which_no_time_is_left_say_so_and_the_table_goes_on(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(gpu, "SECONDS", 0.0)
    monkeypatch.setattr(gpu, "_write_data", lambda *_: tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "-o", str(tmp_path / "table.md")])
    assert gpu.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("failed: no time left of 0 s" in line for line in lines) == len(gpu.TRAININGS) + 2
