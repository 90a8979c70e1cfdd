"""Further outputs of ``predict``: what writes more than tables and ``findings.json`` for each study, such as a report.

The writers live in packages above this one, which the command line hands over; the run itself knows this module only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from monai_spine.data.datalist import Record
from monai_spine.grading.grader import Grader
from monai_spine.prediction.source_frame import SourceFrame


@dataclass(frozen=True)
class GradedStudy:
    """A graded study with everything that its pictures need.

    Attributes
    ----------
    folder
        Of its outputs.
    content
        As ``findings.json`` holds it.
    record
        With points; it may share opened volumes (`monai_spine.crops.study`).
    graders
        Those that graded it.
    frames
        The DICOM frame of each slice; see `monai_spine.prediction.pending_study.PendingStudy`.
    localizers
        Differs between localizers whose points may differ.
    """

    folder: Path
    content: Mapping[str, Any]
    record: Record
    graders: Sequence[Grader] = ()
    frames: Mapping[tuple[str, int], SourceFrame] = field(default_factory=dict)
    localizers: str = ""


@dataclass(frozen=True)
class RefusedStudy:
    """A study that was not graded, and why.

    Attributes
    ----------
    folder
        Of its outputs.
    frames, unused
        See `monai_spine.prediction.pending_study.PendingStudy`.
    """

    folder: Path
    study_id: str
    reason: str
    frames: Mapping[tuple[str, int], SourceFrame] = field(default_factory=dict)
    unused: Sequence[SourceFrame] = ()


class StudyOutput(Protocol):
    """A further output of a run."""

    def lacking(self, folder: Path, *, refused: bool) -> Sequence[str]:
        """Names of what the folder of a study lacks, graded or refused; a later run then grades it again."""
        ...

    def write(self, study: GradedStudy) -> Mapping[str, str]:
        """Write the files of a study; by name, why others cannot be written."""
        ...

    def refuse(self, study: RefusedStudy) -> Mapping[str, str]:
        """Write what a refused study gets, in place of an earlier run's files; by name, why it cannot be written."""
        ...

    def finish(self, out: Path) -> None:
        """Write the files of all studies together, after the last one."""
        ...
