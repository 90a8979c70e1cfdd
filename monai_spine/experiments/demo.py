"""The demo: the whole chain on phantoms, step by step, with the commands that a user would type."""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from monai_spine.bundle.shipped import UNET_CLASSIFIER
from monai_spine.errors import SpineError
from monai_spine.files import read_json


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
    train, evaluate = UNET_CLASSIFIER / "configs/train.json", UNET_CLASSIFIER / "configs/evaluate.json"
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
            "grade the held-out studies",
            [
                *(*bundle, "inference", "--config_file", str(UNET_CLASSIFIER / "configs/inference.json"), *to_run),
                *(f"{out}/unseen_nifti", "--output_dir", f"{out}/predictions"),
            ],
        ),
    ]


def _run(command: Sequence[str]) -> None:
    _print("$ " + shlex.join(command))
    interpreter = [sys.executable, "-W", "ignore"] if command[0] == "python" else [command[0]]
    finished = subprocess.run([*interpreter, *command[1:]], check=False)
    if finished.returncode:
        raise DemoError(f"this step ended with exit code {finished.returncode}: {shlex.join(command)}")


def _ending(out: Path, seconds: float) -> str:
    from monai_spine.tables.score_report import report_score

    solution, submission = out / "unseen/train.csv", out / "predictions/predictions.csv"
    report = report_score(solution, submission, prior_from=out / "rsna/train.csv")
    floor = read_json(out / "unseen/floor.json")["floor"]["score"]
    return f"""
The held-out studies, {seconds / 60:.1f} minutes after the start (the prior is learnt from the training labels):

{report.to_text()}
The floor is {floor:.4f}: no grader can expect a better score on them, because the phantoms' readers disagree at random.

predictions        {submission}, {out}/predictions/<study>/findings.json
TensorBoard logs   {out}/run/eval/tensorboard
volumes            {out}/nifti, {out}/unseen_nifti
weights            {out}/run/models/model.pt

Next:
  tensorboard --logdir {out}/run/eval/tensorboard
  monai-spine score {solution} {submission} --json
  python -m data_prep scan {out}/rsna/train_images
"""


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
