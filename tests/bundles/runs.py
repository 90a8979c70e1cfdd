"""Runs of shipped configs, shrunk to what a test can afford."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ignite.engine import Events
from monai.bundle import create_workflow

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundles" / "lumbar_unet_classifier" / "configs"

SMALL = {
    "grid_size": [4, 16, 24],
    "grid_step": [12.0, 8.0, 6.0],
    "batch_size": 2,
    "epochs": 2,
    "network_def#channels": [4, 8],
    "network_def#strides": [2, 2],
}


def files(*names: str, configs: Path = CONFIGS) -> list[str]:
    return [str(configs / f"{name}.json") for name in names]


def run(*names: str, run_id: str, configs: Path = CONFIGS, stop_in_epoch: int | None = None, **changes: object) -> None:
    """Run in this process; stop between two epochs, without warning, as a kill would."""
    form = "train" if names[0] == "train" else "infer"
    settings = {**(SMALL if configs == CONFIGS else {}), **changes}
    workflow = create_workflow(
        config_file=files(*names, configs=configs), workflow_type=form, run_id=run_id, **settings
    )
    if stop_in_epoch is not None:
        trainer = workflow.parser.get_parsed_content("train#trainer")
        trainer.add_event_handler(Events.EPOCH_STARTED(once=stop_in_epoch), stop)
    try:
        workflow.run()
    finally:
        workflow.finalize()


def command(
    *names: str, run_id: str, launcher: tuple[str, ...] = (), configs: Path = CONFIGS, **changes: object
) -> subprocess.CompletedProcess:
    """Run as a user does, in a process of its own and from another folder."""
    arguments = [run_id, "--config_file", str(files(*names, configs=configs))]
    small = SMALL if configs == CONFIGS else {}
    for key, value in {**small, **changes}.items():
        arguments += [f"--{key}", str(value)]
    launch = launcher or (sys.executable, "-m")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [*launch, "monai.bundle", "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=str(changes.get("bundle_root", ROOT)),
    )


def stop() -> None:
    raise KeyError("stopped by a test")
