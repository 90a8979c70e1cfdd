"""Steps of bundles in this process, in a tenth of the time that one of their own takes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from ignite.engine import Events
from monai.bundle import create_workflow

from monai_spine.bundle.errors import chain
from monai_spine.bundle.planned_settings import parsed_value
from monai_spine.bundle.run import BundleRunError, BundleStopped, Settings
from monai_spine.training.tensorboard.graded_studies import StudyPictures

USERS = (
    "experiments.fold_run",
    "experiments.pseudo_labels",
    "experiments.comparison.epoch_cost",
    "experiments.tuning.search",
)
"""Modules of monai_spine that run steps."""


def run_step(
    step: str,
    configs: Sequence[Path],
    settings: Settings,
    log: Path,
    *,
    follow: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    chosen = {
        name: "$None" if value == "None" else parsed_value(value) for name, value in settings if name != "logging_file"
    }
    stopped = False

    def look(trainer) -> None:
        nonlocal stopped
        if stop and stop():
            stopped = True
            trainer.terminate()

    log.parent.mkdir(parents=True, exist_ok=True)
    kept = logging.FileHandler(log)
    logging.getLogger("monai_spine").addHandler(kept)
    files = [str(path) for path in configs]
    try:
        form = "infer" if step == "inference" else "train"
        workflow = create_workflow(config_file=files, workflow_type=form, run_id=step, **chosen)
        if step == "training":
            trainer = workflow.parser.get_parsed_content("train#trainer")
            trainer.add_event_handler(Events.EPOCH_COMPLETED, look)
        workflow.run()
        workflow.finalize()
    except Exception as err:
        cause = list(chain(err))[-1]
        raise BundleRunError(f"{step} ended with exit code 1: {cause}; the log is {log}") from err
    finally:
        logging.getLogger("monai_spine").removeHandler(kept)
        kept.close()
    if stopped:
        raise BundleStopped
    if follow:
        for line in log.read_text().splitlines():
            follow(line)


def replace_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """From now on steps run in this process; a list that grows with each says which, and where."""
    done: list[tuple[str, Path]] = []

    def counted(step: str, configs: Sequence[Path], settings: Settings, log: Path, **watched) -> None:
        done.append((step, Path(dict(settings)["bundle_root"])))
        run_step(step, configs, settings, log, **watched)

    for user in USERS:
        monkeypatch.setattr(f"monai_spine.{user}.run_step", counted)
    monkeypatch.setattr(os, "getppid", os.getpid)
    monkeypatch.setattr(StudyPictures, "attach", lambda *_: None)  # which take most of the time
    return done
