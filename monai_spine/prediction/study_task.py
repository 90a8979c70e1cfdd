"""Grading one study, as a task for any process: this one, another of this machine, or a worker of a Dask cluster."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from monai_spine.errors import SpineError
from monai_spine.files import safe_name
from monai_spine.prediction.models import Models, open_models
from monai_spine.prediction.outcomes import NAME, Outcome, fingerprint, read_outcome
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.study_cost import measured

Grade = Callable[[PendingStudy, Path, Models, bool, str], Outcome]
_ONE_AT_A_TIME = threading.Lock()
"""A Dask worker may have several threads. Two studies at once would need twice the memory, for no gain in time."""


@dataclass(frozen=True)
class ModelsOnDemand:
    """Opens the models in the process that needs them, once.

    Attributes
    ----------
    options
        Those of `open_models`, as JSON, so that equal ones share their models.
    """

    options: str

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ModelsOnDemand:
        """From the options of `open_models`; paths become absolute, since a worker has another working directory."""
        return cls(json.dumps({name: _absolute(value) for name, value in options.items()}, sort_keys=True))

    def __call__(self) -> Models:
        """The models of this process."""
        return _opened(self.options)


@lru_cache(maxsize=1)
def _opened(options: str) -> Models:
    content = json.loads(options)
    for name in ("bundles", "weights"):
        content[name] = [Path(path) for path in content.get(name) or ()]
    for name in ("level_bundle", "recess_bundle"):
        content[name] = Path(content[name]) if content.get(name) else None
    return open_models(**content)


@dataclass(frozen=True)
class StudyTask:
    """Grades a study, and writes its folder, unless an earlier run has done so.

    Attributes
    ----------
    out
        The output folder, which all processes see.
    models
        Returns the models of this process.
    grade
        Grades a study and writes its files, without the outcome.
    settings
        What the outcome depends on besides the study.
    beacon
        A file in the output folder that only this run made: a worker that does not see it sees another disk. None for
        this machine's processes.
    """

    out: Path
    models: Callable[[], Models]
    grade: Grade
    settings: Mapping[str, Any]
    given_points: bool = False
    force: bool = False
    beacon: Path | None = None

    def __call__(self, study: PendingStudy) -> tuple[Outcome, bool]:
        """The outcome, and whether an earlier run made it.

        Raises
        ------
        SpineError
            If this process does not see the output folder.
        """
        with _ONE_AT_A_TIME:
            if self.beacon is not None and not self.beacon.is_file():
                raise SpineError(f"a worker does not see {self.out}; every worker needs the same paths")
            folder = self.out / safe_name(study.study_id)
            mark = fingerprint(study.record, {**self.settings, "bad": study.bad, "left_out": study.left_out})
            outcome = None if self.force else read_outcome(folder, mark)
            if outcome is not None:
                return outcome, True
            # First, so that a run killed in the middle does not leave an outcome beside files of two runs.
            (folder / NAME).unlink(missing_ok=True)
            models = self.models()
            graded, cost = measured(lambda: self.grade(study, self.out, models, self.given_points, mark))
            outcome = replace(graded, seconds=cost.seconds, peak_mb=cost.peak_mb, machine=cost.machine)
            outcome.write(folder)
            return outcome, False


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, list | tuple):
        return [_absolute(one) for one in value]
    return value
