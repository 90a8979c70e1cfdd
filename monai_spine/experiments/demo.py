"""The demo: the whole chain on phantoms, step by step, with the commands that a user would type."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from monai_spine.bundle.shipped import GRADER
from monai_spine.errors import ExitCode, SpineError


class DemoError(SpineError):
    """A step of the demo failed; its own message was printed above."""


def run_demo(out: Path, *, studies: int, held_out: int, epochs: int) -> None:
    """Make a phantom cohort, convert it, train, evaluate, and grade studies that were not in the training.

    Every step is a command of this project or of MONAI, and is printed before it runs.

    Raises `SpineError` if the folder is not empty.
    Raises `DemoError` if a step fails.
    """
    if out.exists() and any(out.iterdir()):
        raise SpineError(f"{out}: expected a new or empty folder; remove it, or choose another with DEMO=folder")
    started = time.monotonic()
    steps = _steps(out, studies, held_out, epochs)
    for number, (title, command) in enumerate(steps, start=1):
        _print(f"\n[{number}/{len(steps)}] {title}")
        _run(command)
    _print(_ending(out, time.monotonic() - started))


def _steps(out: Path, studies: int, held_out: int, epochs: int) -> list[tuple[str, list[str]]]:
    prep, bundle = ["python", "-m", "data_prep"], ["python", "-m", "monai.bundle", "run"]
    train, evaluate = GRADER / "configs/train.json", GRADER / "configs/evaluate.json"
    to_run = ["--bundle_root", f"{out}/run", "--dataset_dir"]
    return [
        (
            f"{studies} phantom studies to train on, as DICOM in the competition's layout",
            [*prep, "phantom", f"{out}/rsna", "--studies", str(studies), "--seed", "1"],
        ),
        (
            f"{held_out} more studies, held out from the training",
            [*prep, "phantom", f"{out}/unseen", "--studies", str(held_out), "--seed", "2"],
        ),
        (
            "convert DICOM to NIfTI, label points to patient space, and assign folds: datalist.json",
            [*prep, "rsna", f"{out}/rsna", f"{out}/nifti", "--workers", "-1"],
        ),
        (
            "convert the held-out studies to a folder of NIfTI",
            [
                *prep,
                "convert",
                f"{out}/unseen/train_images",
                f"{out}/unseen_nifti",
                *["--name-by", "folder", "--workers", "-1"],
            ],
        ),
        (
            "train",
            [*bundle, "training", "--config_file", str(train), *to_run, f"{out}/nifti", "--epochs", str(epochs)],
        ),
        (
            "evaluate on the fold left out of training",
            [*bundle, "evaluation", "--config_file", f"['{train}','{evaluate}']", *to_run, f"{out}/nifti"],
        ),
        (
            "find the levels of the held-out studies, and grade them with the network that was trained here",
            [
                *(*bundle, "inference", "--config_file", str(GRADER / "configs/inference.json"), *to_run),
                *(f"{out}/unseen_nifti", "--output_dir", f"{out}/predictions"),
            ],
        ),
        (
            "grade them with the shipped network, from DICOM, with a page for each study",
            [
                *("monai-spine", "predict", "-i", f"{out}/unseen/train_images", "-o", f"{out}/graded"),
                *("--name-by", "folder", "--workers", "-1", "--report"),
            ],
        ),
    ]


def _run(command: Sequence[str]) -> None:
    _print("$ " + shlex.join(command))
    interpreters = {
        "python": [sys.executable, "-W", "ignore"],
        # The command itself may not be on the path of a process that was started without an environment.
        "monai-spine": [sys.executable, "-W", "ignore", "-c", "from monai_spine.commands.main import main; main()"],
    }
    command = [*interpreters[command[0]], *command[1:]]
    finished = subprocess.run(command, check=False)  # noqa: S603 - our own commands, without a shell
    if finished.returncode not in (ExitCode.DONE, ExitCode.SOME_REFUSED):
        raise DemoError(f"this step ended with exit code {finished.returncode}: {shlex.join(command)}")


def _ending(out: Path, seconds: float) -> str:
    return f"""
The held-out studies, {seconds / 60:.1f} minutes after the start; a lower score is better:

{_scores(out)}

The prior is learnt from the training labels and sees no image. The first network saw the training studies of this
demo, for minutes; the shipped one saw a thousand other phantoms. No network can expect a better score than the floor,
because the phantoms' readers disagree at random.

report             open {out}/graded/index.html in a browser
predictions        {out}/graded/predictions.csv, {out}/predictions/predictions.csv
TensorBoard logs   {out}/run/eval/tensorboard
volumes            {out}/nifti, {out}/unseen_nifti
weights            {out}/run/models/model.pt

Next:
  tensorboard --logdir {out}/run/eval/tensorboard
  monai-spine score {out}/unseen/train.csv {out}/graded/predictions.csv --floor {out}/unseen/floor.json
  python -m data_prep scan {out}/rsna/train_images
"""


def _scores(out: Path) -> str:
    """A table of both networks beside the prior and the floor, with how far each came from the one to the other."""
    from monai_spine.tables.score_report import report_score

    options = {"prior_from": out / "rsna/train.csv", "floor": out / "unseen/floor.json"}
    # A study may be refused; its rows count as uniform ones, as in `monai-spine score --missing uniform`.
    trained, shipped = (
        report_score(out / "unseen/train.csv", out / folder / "predictions.csv", "uniform", **options)
        for folder in ("predictions", "graded")
    )
    columns = {
        **{"prior": trained.prior, "trained": trained.submission},
        **{"shipped": shipped.submission, "floor": trained.floor},
    }
    lines = [" " * 20 + "".join(f"{name:>10}" for name in columns)]
    for part in trained.prior.as_dict():
        lines.append(f"{part:20}" + "".join(f"{score.as_dict()[part]:10.4f}" for score in columns.values() if score))
    shares = [(one.share_of_way() or {}).get("score", math.nan) for one in (trained, shipped)]
    return "\n".join([*lines, f"{'share of the way':20}{0:10.0%}{shares[0]:10.0%}{shares[1]:10.0%}{1:10.0%}"])


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
