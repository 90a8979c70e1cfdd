"""The commands of docs/how-to/jobs.md that lead from a data set to a rehearsed job, run as they stand there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cohorts import place_points, write_cohort

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    """Those of the first block that write, check and rehearse a job; what comes before makes the data set."""
    block = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/how-to/jobs.md").read_text(), re.DOTALL)[0]
    return [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("monai-spine job")]


@pytest.mark.slow
def test_the_commands_write_a_job_that_passes_the_vendors_types_and_survives_a_killed_worker(tmp_path: Path) -> None:
    place_points(write_cohort(tmp_path / "demo/nifti", studies=8))
    write, rehearse = commands()
    assert "--check" in write
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in (write, rehearse):
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    assert "they resumed after epoch 1 and ended with the same weights" in done.stdout
    (specification,) = json.loads((tmp_path / "job/vertex.json").read_text())["jobSpec"]["workerPoolSpecs"][:1]
    assert specification["machineSpec"]["acceleratorCount"] == 2
    run = tmp_path / "job/rehearsal/killed/storage/gcs/my-bucket/run"
    assert (run / "model/lumbar_25d_grader/models/model.pt").is_file()
    assert list((run / "logs").rglob("events.*"))
    assert (tmp_path / "job/rehearsal/killed/scratch-1/data/datalist.json").is_file()
