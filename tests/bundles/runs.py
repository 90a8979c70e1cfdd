"""Runs of shipped configs, shrunk to what a test can afford."""

from __future__ import annotations

import json
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
    "network_def#channels": [4, 8],
    "network_def#strides": [2, 2],
}


def files(*names: str, configs: Path = CONFIGS) -> list[str]:
    return [str(configs / f"{name}.json") for name in names]


def run(*names: str, run_id: str, configs: Path = CONFIGS, stop_in_epoch: int | None = None, **changes: object) -> None:
    """Run in this process; stop between two epochs, without warning, as a kill would."""
    form = "train" if names[0] == "train" else "infer"
    # A loader's process would take a third of the time; test_resume.py has a training with some.
    settings = {"num_workers": 0, **(SMALL if configs == CONFIGS else {}), **changes}
    if form == "train" and configs == CONFIGS:
        settings = {"epochs": 2, **settings}
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


FORKS = """
import json, os, runpy, sys
import monai.bundle, timm
for n, words in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(f"{n}.txt", os.O_WRONLY | os.O_CREAT), 2)
        sys.argv[1:] = ["run", *words]
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def commands(folder: Path, *calls: tuple[tuple[str, ...], dict[str, object]]) -> list[tuple[int, str]]:
    """Exit codes and stderr of commands as a user gives them, in processes forked from one that has imported MONAI."""
    every = []
    for names, changes in calls:
        settings = {**SMALL, **changes}
        words = [settings.pop("run_id"), "--config_file", str(files(*names))]
        every.append([*words, *(word for key, value in settings.items() for word in (f"--{key}", str(value)))])
    done = subprocess.run(
        [sys.executable, "-c", FORKS, json.dumps(every)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        cwd=folder,
    )
    codes = [int(line) for line in done.stdout.splitlines() if line.lstrip("-").isdigit()]
    return [(code, (folder / f"{n}.txt").read_text()) for n, code in enumerate(codes)]


def stop() -> None:
    raise KeyError("stopped by a test")
