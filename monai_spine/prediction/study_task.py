"""Grading one study, as a task for any process: this one, another of this machine, or a worker of a Dask cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_spine.data.datalist import volumes
from monai_spine.data.finished_mark import fingerprint
from monai_spine.data.volume_names import absent_volumes, volume_names
from monai_spine.files import safe_name
from monai_spine.levels.files import remove_located
from monai_spine.prediction.dicom_study import ConvertedStudy, Study, converted
from monai_spine.prediction.models import Models
from monai_spine.prediction.outcomes import NAME, Outcome, read_outcome
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.points_file import MarkedPoints
from monai_spine.prediction.staging import as_urls
from monai_spine.prediction.study_cost import StudyCost, measured
from monai_spine.prediction.study_grading import grade_study
from monai_spine.prediction.study_output import RefusedStudy, StudyOutput

_ONE_AT_A_TIME = threading.Lock()
"""A Dask worker may have several threads. Two studies at once would need twice the memory, for no gain in time."""


@dataclass(frozen=True)
class StudyResult:
    """What became of a study.

    Attributes
    ----------
    kept
        Whether an earlier run made the outcome.
    converted
        The study with its volumes.
    """

    outcome: Outcome
    kept: bool
    converted: ConvertedStudy


@dataclass(frozen=True)
class StudyTask:
    """Converts a study if it came as DICOM, grades it, and writes its folder, unless an earlier run has done so.

    Attributes
    ----------
    out
        The output folder, which all processes see.
    models
        Returns the models of this process.
    settings
        What the outcome depends on besides the study.
    outputs, given_points, marked, force
        See `predict`.
    grade
        Grades a study and writes its files, without the outcome.
    places
        Folders that hold copies, with the URLs that they stand for; see `as_urls`.
    """

    out: Path
    models: Callable[[], Models]
    settings: Mapping[str, Any]
    outputs: tuple[StudyOutput, ...] = ()
    given_points: bool = False
    marked: MarkedPoints = field(default_factory=dict)
    force: bool = False
    grade: Callable[..., Outcome] = grade_study
    places: tuple[tuple[str, str], ...] = ()

    def __call__(self, study: Study) -> StudyResult:
        """What became of a study.

        If a volume is not there, the study is refused, and files of an earlier run stay as they are: a disk that is
        not mounted must not cost good results.

        Raises
        ------
        OutputError
            If the output cannot be written.
        """
        with _ONE_AT_A_TIME:
            own = converted(study)
            if absent := absent_volumes(volume_names(own.study.record)):
                refused = "; ".join(f"{name}: {why}" for name, why in absent.items())
                return StudyResult(Outcome(own.study.study_id, "", refused=refused), False, own)
            return StudyResult(*self._outcome(own), own)

    def _outcome(self, converted_study: ConvertedStudy) -> tuple[Outcome, bool]:
        study = converted_study.study
        folder = self.out / safe_name(study.study_id)
        own = self.marked.get(study.study_id, {})
        about = {
            "points": {name: list(point) for name, point in study.record["points"].items()},
            "bad": study.bad,
            "left_out": study.left_out,
            "marked": [(*key, *one.world, one.confidence, one.flags) for key, one in own.items()],
        }
        files, settings = volumes(study.record), {**self.settings, **about}
        mark = fingerprint(study.study_id, files, settings, lambda text: as_urls(text, self.places))
        outcome = None if self.force else _kept(read_outcome(folder, mark), folder, self.outputs)
        if outcome is not None:
            return outcome, True
        return self._graded(study, folder, mark, converted_study.cost), False

    def _graded(self, study: PendingStudy, folder: Path, mark: str, conversion: StudyCost) -> Outcome:
        # First, so that a run killed in the middle does not leave an outcome beside files of two runs.
        for name in (NAME, "findings.json"):
            (folder / name).unlink(missing_ok=True)
        remove_located(folder)
        models, own = self.models(), self.marked.get(study.study_id, {})
        about = {"given_points": self.given_points, "marked": own}
        outcome, cost = measured(lambda: self.grade(study, self.out, models, mark, self.outputs, **about))
        if outcome.refused:
            refused = RefusedStudy(folder, study.study_id, outcome.refused, study.frames, study.unused)
            failed = {name: why for output in self.outputs for name, why in output.refuse(refused).items()}
            outcome = replace(outcome, refused_outputs=failed)
        cost = conversion + cost
        outcome = replace(outcome, seconds=cost.seconds, peak_mb=cost.peak_mb, machine=cost.machine)
        outcome.write(folder)
        return outcome


def _kept(outcome: Outcome | None, folder: Path, outputs: Sequence[StudyOutput]) -> Outcome | None:
    """The outcome of an earlier run, with the outputs of this one; None if an output is missing."""
    if outcome is None:
        return None
    lacking = [name for output in outputs for name in output.lacking(folder, refused=bool(outcome.refused))]
    refused = {name: outcome.refused_outputs[name] for name in lacking if name in outcome.refused_outputs}
    return replace(outcome, refused_outputs=refused) if len(refused) == len(lacking) else None
