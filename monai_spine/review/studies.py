"""The studies of an output folder of ``predict``, with their volumes, in the order in which people review them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from monai_spine.crops.stack import open_stack
from monai_spine.data.corrections import Corrections, Place
from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.data.datalist import record_of
from monai_spine.data.volume_names import STUDY_FOLDER
from monai_spine.errors import MissingInputError, SpineError
from monai_spine.files import safe_name
from monai_spine.levels.files import read_study
from monai_spine.levels.sagittal.doubts import Flag
from monai_spine.levels.sagittal.points import FINDING_OF
from monai_spine.prediction.dicom_study import read_rows, studies_of
from monai_spine.prediction.inputs import Conversion, conversions, find_inputs
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.reader_grades import needs_grading
from monai_spine.report.output import read_results
from monai_spine.report.study_result import StudyResult, read_result, worst
from monai_spine.report.wording import GRADES, flag_words
from monai_spine.review.pictures import ShownVolume, shown_volumes
from monai_spine.spine import SeriesType

NOT_AT_HAND = "The images of this study are not at hand. Start the page with -i and the inputs of predict."
_NO_SAGITTAL = (
    "Points cannot mend that: they are placed in a sagittal T1 or T2 series, and none of this study can be used."
)
_LEFT_OUT = "left out: "


class Order(str, Enum):
    """Which studies come first."""

    UNCERTAINTY = "uncertainty"
    """Those whose levels are uncertain, then those with the most doubtful grades (`doubtful_grades`)."""
    NAME = "name"
    WORST = "worst"
    """Those with the worst finding."""


@dataclass(frozen=True)
class ReviewStudy:
    """A study of the folder.

    Attributes
    ----------
    number
        By which the page names it; it never changes while the server runs.
    folder
        Of its outputs.
    pending
        With its volumes, to grade it again; None if they are not at hand.
    volumes
        Those volumes as the page shows them; none before they were `opened`.
    obstacle
        Of a refused study, why no levels can be placed in it; empty if they can.
    """

    number: int
    folder: Path
    result: StudyResult
    pending: PendingStudy | None = None
    volumes: tuple[ShownVolume, ...] = ()
    obstacle: str = ""
    opened: bool = False

    @property
    def waits(self) -> bool:
        """Whether it is to be graded by its corrections: again, or, if it was refused, for the first time."""
        if self.result.findings:
            return needs_grading(self.folder, self.result.points)
        return (self.folder / NAME).is_file() and self.corrections().state.has_all_levels

    def corrections(self) -> Corrections:
        """Those of its file, or none yet, on the points and grades of the program.

        Raises
        ------
        InvalidTableError
            If the file breaks its format.
        """
        if (self.folder / NAME).is_file():
            return read_corrections(self.folder / NAME)
        grades = {one.finding.name: one.grade.column for one in self.result.findings}
        volumes = {volume.name: volume.stored_place() for volume in self.volumes}
        return Corrections(self.result.study_id, _points(self.folder, self.result), grades, volumes)


def _points(folder: Path, result: StudyResult) -> dict[str, Place]:
    """The points of the program: the located ones, or those of a datalist that the findings have."""
    if (folder / "points.json").is_file():
        own = {one.key: one for one in read_study(folder).points}
        pairs = [(finding.name, own[key]) for key, finding in FINDING_OF.items() if key in own]
        return {name: Place(_rounded(one.world), round(one.confidence, 4), one.flags) for name, one in pairs}
    return {
        one.finding.name: Place(_rounded(one.point), one.point_confidence)
        for one in result.findings
        if one.point is not None
    }


def _rounded(position: Iterable[float]) -> tuple[float, float, float]:
    x, y, z = (round(float(mm), 3) for mm in position)
    return x, y, z


def doubtful_grades(result: StudyResult) -> float:
    """How many of the program's grades are expected to be wrong by the probabilities themselves: the sum of 1 - max(p).

    What a reader graded is not in doubt any more.
    """
    return sum(1.0 - max(one.natural) for one in result.findings if one.reader is None)


class ReviewStudies:
    """All studies of a folder. Their numbers are places in `all`, so no name of a browser leads to a file.

    Raises
    ------
    MissingInputError
        If the folder holds no results, or no volume of any of its studies is at hand.
    """

    def __init__(self, out: Path, inputs: Sequence[Path] = (), *, quiet: bool = True) -> None:
        self.out = out
        results, self.unread = read_results(out) if out.is_dir() else ([], [])
        if not results:
            raise MissingInputError(
                f"expected findings of `monai-spine predict` in {out}, but found none; grade studies first: "
                f"monai-spine predict -i INPUT -o {out}"
            )
        with_volumes = _converted_refused(out, results) | _of_inputs(inputs, out, quiet)
        studies = [
            ReviewStudy(number, out / result.name, result, with_volumes.get(result.name) or _converted(out, result))
            for number, result in enumerate(results)
        ]
        if not any(study.pending for study in studies):
            raise MissingInputError(
                f"expected the volumes of the studies of {out}, but found none; name the inputs of predict, such as "
                f"monai-spine review {out} -i nifti/"
            )
        self._all = studies
        self._summaries = [_summary(study) for study in studies]
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._all)

    def study(self, number: int) -> ReviewStudy:
        """A study with its volumes.

        Raises
        ------
        IndexError
            If there is no such number.
        """
        if not 0 <= number < len(self._all):
            raise IndexError(f"the list ends at number {len(self._all) - 1}")
        study = self._all[number]
        if not study.opened:
            study = _opened(study)
            with self._lock:
                self._all[number] = study
        return study

    def refresh(self, number: int, *, graded: bool = False) -> None:
        """Read a study again that was corrected or, with ``graded``, graded again."""
        study = self.study(number)
        if graded:
            study = replace(study, result=read_result(study.folder))
        summary = _summary(study)
        with self._lock:
            self._all[number], self._summaries[number] = study, summary

    def waiting(self) -> list[int]:
        """The studies whose files do not fit their corrections, and whose images are at hand."""
        return [n for n, study in enumerate(self._all) if study.pending is not None and _waits(study)]

    def corrected(self) -> list[Path | None]:
        """The folders of studies with corrections; None for the others."""
        return [study.folder if (study.folder / NAME).is_file() else None for study in self._all]

    def summary(self, number: int) -> dict[str, Any]:
        """The line of a study in the list."""
        with self._lock:
            return self._summaries[number]

    def listed(self, order: Order) -> list[dict[str, Any]]:
        """A summary of each study for the page's list; refused studies come last."""
        with self._lock:
            studies = list(zip(self._all, self._summaries, strict=True))
        return [summary for _, summary in sorted(studies, key=lambda pair: _rank(pair[0].result, order))]


def _opened(study: ReviewStudy) -> ReviewStudy:
    """A study with its volumes. In a refused one, points can be placed only in volumes that can be graded then."""
    if study.pending is None:
        return replace(study, opened=True, obstacle=NOT_AT_HAND if study.result.refused else "")
    if not study.result.refused:
        return replace(study, opened=True, volumes=tuple(shown_volumes(study.pending.record)))
    usable = study.pending.checked(open_stack)
    obstacle = _NO_SAGITTAL if usable.fault else ""
    return replace(study, opened=True, volumes=tuple(shown_volumes(usable.record)), obstacle=obstacle)


def _waits(study: ReviewStudy) -> bool:
    try:
        return study.waits
    except SpineError:
        return False  # the page shows what is wrong with its corrections


def _rank(result: StudyResult, order: Order) -> tuple[Any, ...]:
    refused = not result.findings
    if refused or order is Order.NAME:
        return (refused, result.study_id)
    if order is Order.WORST:
        shown = worst(result.findings, read=True)
        return (refused, [-part for part in shown.read_severity] if shown else [1.0], result.study_id)
    uncertain = Flag.UNCERTAIN_LEVEL.value in result.flags
    return (refused, not uncertain, -round(doubtful_grades(result), 6), result.study_id)


def _summary(study: ReviewStudy) -> dict[str, Any]:
    result, shown = study.result, worst(study.result.findings, read=True)
    fault, corrections = "", None
    try:
        if (study.folder / NAME).is_file():
            corrections = read_corrections(study.folder / NAME)
    except SpineError as error:
        fault = str(error)
    state = corrections.state if corrections else None
    return {
        "number": study.number,
        "study": result.study_id,
        "tone": shown.read_grade.column if shown else "unknown",
        "worst": GRADES[shown.read_grade] if shown else ("refused" if result.refused else "not seen"),
        "read": bool(shown and shown.reader),
        "doubtful": round(doubtful_grades(result), 1),
        "uncertain": Flag.UNCERTAIN_LEVEL.value in result.flags,
        "flags": [flag_words(flag) for flag in result.flags],
        "refused": result.refused,
        "images": study.pending is not None,
        "corrected": sum(change.undone is None for change in corrections.changes) if corrections else 0,
        "done": vars(state.done) if state and state.done else None,
        "fault": fault,
    }


def _of_inputs(inputs: Sequence[Path], out: Path, quiet: bool) -> dict[str, PendingStudy]:
    """The studies of the inputs by the names of their folders in the output."""
    if not inputs:
        return {}
    studies = find_inputs(inputs, out, Conversion(quiet=quiet)).studies
    return {safe_name(study.study_id): study for study in studies}


def _converted_refused(out: Path, results: Sequence[StudyResult]) -> dict[str, PendingStudy]:
    """Refused studies by the volumes that ``predict`` has made from DICOM, which only the converter's tables name."""
    names = {result.name for result in results if result.refused}
    studies: dict[str, PendingStudy] = {}
    for folder in conversions(out) if names else ():
        rows = [row for row in read_rows(folder / "manifest.csv") if safe_name(row["study"]) in names]
        # Nothing that a table names may lead out of the output.
        safe = [row for row in rows if (folder / row["nifti"]).resolve().is_relative_to(out.resolve())]
        studies |= {safe_name(one.study_id): one.below(out) for one in studies_of(folder, folder, safe, ())}
    return studies


def _converted(out: Path, result: StudyResult) -> PendingStudy | None:
    """The study by the volumes that ``predict`` has made from DICOM in the output folder; None if they are not there.

    ``findings.json`` names them, so that no header of a thousand studies must be read before the page opens.
    """
    try:
        content: Mapping[str, Any] = json.loads((out / result.name / "findings.json").read_text(encoding="utf-8"))
        folder = (out / str(content["folder"])).resolve()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A study's folder below the output; "." stands for inputs elsewhere, and nothing may lead out of the output.
    if not folder.is_relative_to(out.resolve()) or folder == out.resolve():
        return None
    types = {series_type.value for series_type in SeriesType}
    series: dict[str, list[str]] = {series_type: [] for series_type in types}
    for name, what in result.volumes.items():
        file = (folder / name).resolve()
        if what in types and file.is_relative_to(folder) and file.is_file():
            # As predict names it, not resolved: the names of volumes are relative to this folder.
            series[what].append(str(Path(str(content["folder"])) / name))
    if not any(series.values()):
        return None
    record = record_of({"study_id": result.study_id, **series}, out)
    left_out = {name: why.removeprefix(_LEFT_OUT) for name, why in result.volumes.items() if why.startswith(_LEFT_OUT)}
    bad = {name: left_out.pop(name, why) for name, why in result.bad.items()}
    record[STUDY_FOLDER] = str((out / str(content["folder"])).absolute())
    return PendingStudy(record, left_out, bad, folder=str(content["folder"]))
