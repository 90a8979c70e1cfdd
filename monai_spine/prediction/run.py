"""The run of ``predict``: every study is located, graded and written, unless an earlier run has done it already.

Other processes open their models while this one does, and take studies as it does. A DICOM study is converted by the
process that grades it. If one process grades, another one converts the next studies meanwhile.
"""

from __future__ import annotations

import functools
import importlib
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_spine import __version__
from monai_spine.bundle.run import Report
from monai_spine.console import track
from monai_spine.errors import ExitCode, InvalidOptionError, counted
from monai_spine.files import check_separate, remove_partial, removed_if_refused, safe_name
from monai_spine.levels.files import read_study, write_points
from monai_spine.output_lock import output_lock
from monai_spine.prediction.dicom_study import ConvertedStudy, Study, converted
from monai_spine.prediction.findings_table import write_findings_table
from monai_spine.prediction.inputs import Conversion, Inputs, check_no_dicom, find_inputs, holds_dicom
from monai_spine.prediction.merged_parts import NAME as PART
from monai_spine.prediction.merged_parts import write_part
from monai_spine.prediction.models import Models
from monai_spine.prediction.object_files import check_no_inputs_among_objects
from monai_spine.prediction.outcomes import Outcome, write_tables
from monai_spine.prediction.part import Part
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.points_file import MarkedPoints, read_points_file
from monai_spine.prediction.progress import Progress
from monai_spine.prediction.staging import Staging
from monai_spine.prediction.study_output import StudyOutput
from monai_spine.prediction.study_processes import KILLED, StudyProcesses
from monai_spine.prediction.study_task import StudyResult, StudyTask
from monai_spine.scoring.competition import Floats, level_prior
from monai_spine.scoring.submission import read_labels
from monai_spine.spine import FINDINGS

if TYPE_CHECKING:
    from data_prep.process_pool import Pool

logger = logging.getLogger(__name__)


@dataclass
class Summary:
    """The outcomes of all studies; ``kept`` of them were done by an earlier run."""

    out: Path
    outcomes: list[Outcome] = field(default_factory=list)
    kept: int = 0
    refused_files: int = 0
    pace: str = ""
    """Seconds a study, in words; empty if all were done before."""

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if a study was refused, or a volume or a DICOM file could not be used."""
        refused = any(one.refused or one.bad or one.refused_outputs for one in self.outcomes) or self.refused_files
        return ExitCode.SOME_REFUSED if refused else ExitCode.DONE

    def line(self) -> str:
        """One line for people."""
        return f"{self.counts()}; see {self.out / 'studies.csv'}"

    def counts(self) -> str:
        """How many studies were graded or refused, and why. It names no folder, so that outputs may hold it."""
        refused = sum(bool(one.refused) for one in self.outcomes)
        graded = len(self.outcomes) - refused
        not_covered = sum(one.not_covered for one in self.outcomes)
        bad = sum(len(one.bad) for one in self.outcomes)
        failed = sum(bool(one.refused_outputs) for one in self.outcomes)
        parts = [counted(graded, "study") + " graded" + (f" ({self.kept} done before)" if self.kept else "")]
        parts += [f"{refused} refused"] if refused else []
        parts += [f"{not_covered} of {graded * len(FINDINGS)} findings not covered by any slice"] if not_covered else []
        parts += [f"{counted(bad, 'volume')} could not be used"] if bad else []
        parts += [f"{counted(failed, 'study')} without an output that was asked for"] if failed else []
        parts += [f"{counted(self.refused_files, 'DICOM file')} refused"] if self.refused_files else []
        parts += [self.pace] if self.pace else []
        return ", ".join(parts)


def run_predict(
    paths: Sequence[Path],
    out: Path,
    *,
    processes: StudyProcesses,
    report: Report,
    given_points: bool,
    points: Path | None,
    name_by: str,
    prior_from: Path | None,
    force: bool,
    workers: int,
    quiet: bool,
    outputs: Sequence[StudyOutput] = (),
    part: Part | None = None,
    staging: Staging | None = None,
) -> Summary:
    """The command ``monai-spine predict``. Options and models are checked before anything is converted or graded.

    Parameters
    ----------
    processes
        The models, and the processes that grade.
    report
        Gets the provenance of the models, before the first study.
    given_points, force, quiet, outputs
        See `predict`.
    points
        A file of points; see `read_points_file`.
    name_by, workers
        See `Conversion`.
    prior_from
        Labels whose per-level prior fills the rows of refused studies.
    part
        Grade only this part of the studies, with tables in a folder of its own; None for all.
    staging
        What of the paths stands for object stores; see `staged`.

    Raises
    ------
    SpineError
        If an input, a model or an option cannot be used.
    """
    _check_paths(paths, out)
    if part is not None:
        check_no_dicom(paths)
    fill = level_prior(read_labels(prior_from).grades) if prior_from else None
    own = out if part is None else part.folder(out)  # other parts write their studies at the same time
    with ExitStack() as stack:
        reader = stack.enter_context(_reader(paths, processes))
        with removed_if_refused(own):
            # First: a cluster or a model that cannot be used must not show after an hour of conversion.
            processes.check(out)
            opened: Models = processes.models_here()
            stack.enter_context(output_lock(own))
            conversion = Conversion(name_by, workers, resume=not force, quiet=quiet)
            run = reader.run if reader.others else processes.run_anything
            convert = conversion.later(out, stack, run, shared=processes.cluster is not None)
            inputs = find_inputs(paths, out, convert)
            marked = read_points_file(points, [study.study_id for study in inputs.all]) if points else {}
            if given_points and not any(study.record["points"] for study in inputs.studies):
                message = "--given-points: no input has points, only a datalist can; name a file with --points"
                raise InvalidOptionError(message)
            # Again, now that the inputs are known, and before anything of an earlier run is removed.
            processes.check(out, inputs.all)
            report(opened.provenance)
        return predict(
            inputs,
            out,
            opened,
            given_points=given_points,
            marked=marked,
            force=force,
            fill=fill,
            quiet=quiet,
            outputs=outputs,
            part=part,
            processes=processes,
            reader=reader,
            staging=staging,
        )


def predict(
    inputs: Inputs,
    out: Path,
    models: Models,
    *,
    given_points: bool = False,
    marked: MarkedPoints | None = None,
    force: bool = False,
    fill: Floats | None = None,
    quiet: bool = False,
    outputs: Sequence[StudyOutput] = (),
    part: Part | None = None,
    processes: StudyProcesses | None = None,
    reader: Pool | None = None,
    staging: Staging | None = None,
) -> Summary:
    """Grade studies, and write to ``out`` a folder for each study and the tables of all (`outcomes.write_tables`).

    The tables grow while the run goes on, and ``log.txt`` gets a line for each study (see `Progress`).

    A study whose levels cannot be found is refused, and the others go on.

    Parameters
    ----------
    given_points
        Whether points of a datalist are used. Studies without points are located anyway.
    marked
        Points of studies in the place of located ones; see `read_points_file`.
    force
        Whether studies that an earlier run finished are graded again.
    fill
        ``(25, 3)`` rows of ``predictions.csv`` for refused studies; None leaves these studies out.
    outputs
        Further outputs of each graded study. A study without one of them is graded again.
    part
        Only these studies are graded, and their tables go to ``out/parts``; None for all studies.
    processes
        The processes that grade; None for this one.
    reader
        Another process that converts the next studies, while this one grades.
    staging
        Gets each finished study, and the tables, where the output stands for an object store.
    """
    settings = settings_of(models, given_points=given_points)
    inputs_of_all = inputs
    if part is not None:
        inputs = replace(inputs, studies=tuple(one for one in inputs.studies if part.holds(one.study_id)))
    studies = inputs.all
    tables = out if part is None else part.folder(out)
    _remove_remains(out, part, [one.study_id for one in studies])
    run = _Run(inputs, out, Summary(tables, refused_files=inputs.refused_files), models, fill)
    progress = Progress(tables, len(studies))
    progress.start(models.provenance)
    task = StudyTask(
        out=out,
        models=lambda: models,
        settings=settings,
        outputs=tuple(outputs),
        given_points=given_points,
        marked=marked or {},
        force=force,
        places=staging.places if staging else (),
    )
    results = _results(task, studies, processes, reader)
    for result in track(results, "convert and grade" if inputs.conversions else "grade", len(studies), quiet):
        run.add(result)
        progress.study(result.outcome, kept=result.kept)
        if staging and not result.kept:
            staging.store(safe_name(result.outcome.study_id))
        if progress.tables_due():
            begin = time.perf_counter()
            run.write_tables()
            progress.tables_written(time.perf_counter() - begin)
    run.finish()
    summary = run.summary
    summary.pace = progress.pace
    progress.end(summary.counts())
    if part is None:
        for output in outputs:
            output.finish(out)
    else:
        about = {"version": __version__, **settings, "prior": None if fill is None else fill.tolist()}
        every_study = [*(one.study_id for one in inputs_of_all.all), *(staging.left_there if staging else ())]
        write_part(part, out, settings=about, inputs=every_study, studies=len(studies), provenance=models.provenance)
    if staging:
        staging.store()
    return summary


def _remove_remains(out: Path, part: Part | None, studies: Sequence[str]) -> None:
    """Remove unfinished files of earlier runs; of a part its own alone, since other parts may be writing."""
    if part is None:
        remove_partial(out)
        return
    tables = part.folder(out)
    (tables / PART).unlink(missing_ok=True)
    for folder in (tables, *(out / safe_name(study) for study in studies)):
        remove_partial(folder)


def _results(
    task: StudyTask, studies: Sequence[Study], processes: StudyProcesses | None, reader: Pool | None
) -> Iterable[StudyResult]:
    """Of all studies as they come: from other processes, or from this one, for which another one may convert."""
    if reader is not None and reader.others:
        return map(task, reader.ahead(converted, studies, if_killed=_given_up))
    return processes.run(task, studies) if processes else map(task, studies)


def settings_of(models: Models, *, given_points: bool = False) -> dict[str, Any]:
    """What outcomes depend on besides the studies, for their fingerprints."""
    return {
        "levels": models.digest,
        "graders": [grader.digest for grader in models.graders],
        "given_points": given_points,
    }


@dataclass
class _Run:
    """What is done so far, and its tables."""

    inputs: Inputs
    out: Path
    summary: Summary
    models: Models
    fill: Floats | None
    _studies: list[PendingStudy] = field(default_factory=list)

    def add(self, result: StudyResult) -> None:
        self.summary.kept += result.kept
        self.summary.outcomes.append(result.outcome)
        self._studies.append(result.converted.study)
        for conversion in self.inputs.conversions:
            if result.converted.volumes and conversion.plan.out.absolute() == result.converted.volumes.absolute():
                conversion.results += result.converted.results

    def write_tables(self) -> None:
        """Those of the conversions and of all studies so far."""
        for conversion in self.inputs.conversions:
            conversion.plan.write_tables(conversion.results)
        self._write_study_tables()

    def finish(self) -> None:
        """Write the tables of all, and count the DICOM files."""
        for conversion in self.inputs.conversions:
            conversion.plan.finish(conversion.results)
            self.summary.refused_files += conversion.refused_files
        self._write_study_tables()

    def _write_study_tables(self) -> None:
        """Also of those that an earlier run has done, by their names."""
        tables, outcomes = self.summary.out, self.summary.outcomes
        outcomes.sort(key=lambda one: one.study_id)  # other processes finish them in any order
        self._studies.sort(key=lambda one: one.study_id)
        write_points(tables, [read_study(self.out / safe_name(one.study_id)) for one in outcomes if one.located])
        graded = {one.study_id for one in outcomes if not one.refused}
        write_findings_table(self.out, [study for study in self._studies if study.study_id in graded], tables)
        about = {"provenance": self.models.provenance, "trained_on": self.models.trained_on_cell}
        write_tables(tables, outcomes, **about, fill=self.fill)


def _given_up(study: Study) -> ConvertedStudy:
    return converted(study.given_up(KILLED))


def _reader(paths: Sequence[Path], processes: StudyProcesses) -> Pool:
    """A process that converts, if this one grades alone and there is a core for it."""
    from data_prep.process_pool import Pool, cores

    alone = not processes.cluster and not processes.pool.others
    begin = functools.partial(importlib.import_module, "data_prep.dicom.convert")
    return Pool(int(alone and any(map(holds_dicom, paths)) and cores() > 1), begin, share=False)


def _check_paths(paths: Sequence[Path], out: Path) -> None:
    if not paths:
        raise InvalidOptionError("expected something to grade; name DICOM, NIfTI or a datalist with -i")
    bundles = [path for path in paths if (path / "configs" / "inference.json").is_file()]
    if bundles:
        raise InvalidOptionError(f"{bundles[0]} is a bundle, not an input; write --model before each bundle")
    check_separate(paths, out)
    check_no_inputs_among_objects(paths, out)
    if out.exists() and not out.is_dir():
        raise InvalidOptionError(f"the output {out} is a file; expected a folder, or the name of a new one")
