"""Further outputs of ``predict``: what writes more than tables and ``findings.json`` for each study, such as a report.

The writers live in packages above this one, which the command line hands over; the run itself knows this module only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from monai_spine.data.datalist import Record
from monai_spine.prediction.grader import Grader
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
    """

    folder: Path
    content: Mapping[str, Any]
    record: Record
    graders: Sequence[Grader] = ()
    frames: Mapping[tuple[str, int], SourceFrame] = field(default_factory=dict)


class StudyOutput(Protocol):
    """A further output of a run."""

    def lacking(self, folder: Path) -> Sequence[str]:
        """Names of what a graded study's folder lacks; a later run grades the study again, unless it was refused."""
        ...

    def write(self, study: GradedStudy) -> Mapping[str, str]:
        """Write the files of a study; by name, why others cannot be written."""
        ...

    def remove(self, folder: Path) -> None:
        """Remove the files of an earlier run: the study was refused in this one."""
        ...

    def finish(self, out: Path) -> None:
        """Write the files of all studies together, after the last one."""
        ...
