"""What other processes run in tests: grading without a network, which dies once where a file asks for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

from monai_spine.errors import SpineError
from monai_spine.files import write_text
from monai_spine.prediction.outcomes import Outcome
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.spine import SeriesType


def no_models() -> None:
    return None


def grade(study: PendingStudy, out: Path, models: object, mark: str, outputs: object, **about: object) -> Outcome:
    """Refuse the study, for its own reason or that of this function.

    A process other than the tests' own dies once of the study that a file ``DIE`` names, or of any, and always of that
    which a file ``DIE_ALWAYS`` names.
    """
    with (out.parent / "calls.txt").open("a", encoding="utf-8") as calls:
        calls.write(f"{study.study_id}\n")
    if study.why_given_up:
        return Outcome(study.study_id, mark, refused=study.fault)
    die = out.parent / "DIE"
    if die.exists() and multiprocessing.parent_process() is not None and die.read_text() in {study.study_id, ""}:
        die.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    always = out.parent / "DIE_ALWAYS"
    if always.exists() and multiprocessing.parent_process() is not None and always.read_text() == study.study_id:
        os.kill(os.getpid(), signal.SIGKILL)
    write_text(out / study.study_id / "files.txt", "whole")
    return Outcome(study.study_id, mark, refused="nobody grades here")


def pending(name: str) -> PendingStudy:
    return PendingStudy({"study_id": name, "points": {}, **{one.value: [] for one in SeriesType}})


def blind(study: PendingStudy) -> None:
    raise SpineError(f"{study.study_id} is not seen")
