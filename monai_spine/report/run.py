"""The command ``monai-spine report``: pages of studies that ``predict`` has graded, made from its output folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_spine.console import track
from monai_spine.data.datalist import Record
from monai_spine.errors import ExitCode, MissingInputError, listed, reason_of
from monai_spine.files import remove_partial, safe_name
from monai_spine.grading.grader import Grader
from monai_spine.output_lock import output_lock
from monai_spine.prediction.inputs import Conversion, conversions, find_inputs, read_converted
from monai_spine.prediction.models import open_graders
from monai_spine.prediction.reader_grades import behind, needs_grading, update_readers
from monai_spine.prediction.study_output import GradedStudy
from monai_spine.report.output import INDEX, PageOutput, read_results, write_index
from monai_spine.report.study_result import StudyResult
from monai_spine.runtime.device import usable_device
from monai_spine.spine import SeriesType

logger = logging.getLogger(__name__)


@dataclass
class ReportSummary:
    """What a run of ``report`` did."""

    out: Path
    written: list[str] = field(default_factory=list)
    kept: int = 0
    without_volumes: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    """Studies whose points were corrected, and which were not graded again."""
    failed: list[str] = field(default_factory=list)
    """Studies whose page could not be made, and why."""

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if results could not be read, or a page could not be made."""
        return ExitCode.SOME_REFUSED if self.unread or self.failed else ExitCode.DONE

    def line(self) -> str:
        """One line for people."""
        parts = [f"{len(self.written)} pages written"]
        parts += [f"{self.kept} kept"] if self.kept else []
        parts += [f"{len(self.without_volumes)} without pictures (name the inputs with -i)"] * bool(
            self.without_volumes
        )
        parts += [f"{len(self.unread)} folders could not be read: {self.unread[0]}"] if self.unread else []
        parts += [f"{len(self.failed)} could not be made: {listed(self.failed, '; ')}"] if self.failed else []
        parts += [
            f"{len(self.waiting)} show other points than were corrected: start monai-spine review {self.out}"
        ] * bool(self.waiting)
        return f"{', '.join(parts)}; see {self.out / INDEX}"


def run_report(
    out: Path,
    pages: PageOutput,
    *,
    inputs: Sequence[Path] = (),
    bundles: Sequence[Path] = (),
    weights: Sequence[Path] = (),
    device: str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> ReportSummary:
    """Write the page of each study of a folder of results, and the index.

    Parameters
    ----------
    pages
        Writes the pages.
    inputs
        Those of ``predict``, for studies whose volumes are not in ``out``.
    bundles, weights
        The graders of ``predict``; see `monai_spine.prediction.models.open_models`. A page shows where a grader looked
        if its weights are those that graded the study.
    force
        Whether pages that are newer than the study's findings are written again.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If the folder has no results, or an input or a model cannot be used.
    """
    nothing = MissingInputError(f"expected results of `monai-spine predict` in {out}, but found none")
    if not out.is_dir():
        raise nothing
    with output_lock(out):
        remove_partial(out)
        update_readers(out, behind(out))
        results, unread = read_results(out)
        if not results and not unread:
            raise nothing
        records = {safe_name(str(record["study_id"])): record for record in _records(out, inputs, quiet)}
        # Checksums need not be compared: weights are used only if they are those in the findings, by their SHA-256.
        graders = open_graders(bundles, weights, device=usable_device(device), verify=False)
        summary = ReportSummary(out, unread=unread)
        for result in track(results, "report", len(results), quiet):
            if not result.refused:
                _report_study(result, records.get(result.name), pages, graders, summary, force=force)
        write_index(out)
    return summary


def _report_study(
    result: StudyResult,
    record: Record | None,
    pages: PageOutput,
    graders: Sequence[Grader],
    summary: ReportSummary,
    *,
    force: bool,
) -> None:
    """Write the pages of a study, if they are not there already; the summary gets what became of it."""
    folder = summary.out / result.name
    if needs_grading(folder, result.points):
        summary.waiting.append(result.study_id)
    if not force and not pages.lacking(folder, refused=False) and _is_newer(folder, pages):
        summary.kept += 1
        return
    try:
        failed = pages.write(graded_study(folder, record, result, graders))
        reason = "; ".join(f"{name}: {why}" for name, why in failed.items())
    except Exception as error:  # the other studies go on
        logger.debug("the page of a study failed", exc_info=error)
        reason = reason_of(error)
    if reason:
        summary.failed.append(f"{result.study_id}: {reason}")
        return
    if record is None:
        summary.without_volumes.append(result.study_id)
    summary.written.append(result.study_id)


def _records(out: Path, inputs: Sequence[Path], quiet: bool) -> Iterator[Record]:
    """The records of all studies whose volumes are in the output folder, or among the inputs."""
    for folder in conversions(out):
        yield from (study.record for study in read_converted(folder, folder).studies)
    if inputs:
        yield from (study.record for study in find_inputs(inputs, out, Conversion(quiet=quiet)).studies)


def graded_study(folder: Path, record: Record | None, result: StudyResult, graders: Sequence[Grader]) -> GradedStudy:
    """A study that was graded before, from its folder; of the graders, those whose weights graded it."""
    content: dict[str, Any] = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    points = {name: point for name, point in result.points.items() if point is not None}
    empty: Mapping[str, Any] = {series_type.value: () for series_type in SeriesType}
    used = [model.get("weights") for model in result.models]
    matching = [grader for grader in graders if grader.about["weights"] in used]
    return GradedStudy(folder, content, {**(record or empty), "points": points}, matching)


def _is_newer(folder: Path, pages: PageOutput) -> bool:
    """Whether the pages are younger than the findings."""
    findings = (folder / "findings.json").stat().st_mtime_ns
    return all((folder / name).stat().st_mtime_ns >= findings for writer in pages.writers for name in [writer.name])
