"""The table of the GPU, shrunk, as its script prints it."""

import subprocess
import sys
from pathlib import Path

import pytest

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
