"""Grades a received study with the code of ``predict``: its objects, or a note that says why there are none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monai_spine.errors import OutputError, SpineError, one_line
from monai_spine.files import safe_name

if TYPE_CHECKING:
    from monai_spine.prediction.models import Models
    from monai_spine.prediction.outcomes import Outcome

# What needs torch is imported inside, so that mistakes in a configuration are seen at once.

GRADED, REFUSED = "graded", "refused"


@dataclass(frozen=True)
class GradedFiles:
    """What grading a study made.

    Attributes
    ----------
    outcome
        `GRADED`, or `REFUSED` if any part of the study was refused.
    reason
        Why; empty if it was graded.
    objects
        Files to send.
    """

    outcome: str
    reason: str
    objects: tuple[Path, ...]
    seconds: float = 0.0


GradeStudy = Callable[[Path, Path], GradedFiles]
"""From the folder of the images and a folder for results."""


class StudyGrader:
    """Grades studies with models that stay open."""

    def __init__(self, models: Models) -> None:
        from monai_spine.dicom_out.outputs import study_outputs

        self._models = models
        self._outputs = study_outputs(report=False, pdf=False, dicom_out=True)

    def __call__(self, received: Path, out: Path) -> GradedFiles:
        """Grade a study.

        Raises
        ------
        OutputError, OSError, MemoryError
            If the machine failed, not the study.
        """
        from monai_spine.prediction.inputs import Conversion, find_inputs
        from monai_spine.prediction.object_files import OBJECTS
        from monai_spine.prediction.run import predict

        begin = time.perf_counter()
        try:
            inputs = find_inputs([received], out, Conversion(quiet=True))
        except OutputError:
            raise
        except SpineError as error:
            # The reason names the folder of this machine before its first colon.
            return refused(
                one_line(error).removeprefix(f"{received}: ").replace(str(received), "the study"), received, out
            )
        summary = predict(inputs, out, self._models, quiet=True, outputs=self._outputs)
        objects: list[Path] = []
        reasons = []
        for outcome in summary.outcomes:
            own = sorted((out / safe_name(outcome.study_id) / OBJECTS).glob("*.dcm"))
            reason = _reason(outcome)
            if reason:
                reasons.append(reason)
                own = own or list(refused(reason, received, out / safe_name(outcome.study_id)).objects)
            objects += own
        return GradedFiles(
            REFUSED if reasons else GRADED, "; ".join(reasons), tuple(objects), time.perf_counter() - begin
        )


def _reason(outcome: Outcome) -> str:
    return outcome.refused or "; ".join(outcome.refused_outputs.values())


def refused(reason: str, received: Path, out: Path) -> GradedFiles:
    """The note of a study that cannot be graded, one for each patient whom its images name."""
    from monai_spine.dicom_out.source_image import NoDicomError, SourceImages
    from monai_spine.dicom_out.writer import refusal_notes, write_objects
    from monai_spine.prediction.object_files import OBJECTS
    from monai_spine.prediction.source_frame import SourceFrame

    begin = time.perf_counter()
    sources = SourceImages({})
    for file in sorted(received.glob("*.dcm")):
        frame = SourceFrame(received, file.name)
        header = frame.header(["StudyInstanceUID"])
        if header is not None:
            sources.add([frame], str(header.get("StudyInstanceUID") or ""))
    try:
        write_objects(out / OBJECTS, refusal_notes(reason, sources))
    except NoDicomError as error:
        return GradedFiles(REFUSED, f"{reason}; no note can be made of it: {error}", ())
    objects = tuple(sorted((out / OBJECTS).glob("refusal*.dcm")))
    return GradedFiles(REFUSED, reason, objects, time.perf_counter() - begin)
