"""The run of ``predict``: every study is located, graded and written, unless an earlier run has done it already."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_spine import __version__
from monai_spine.bundle.on_demand import OnDemand
from monai_spine.bundle.run import Report
from monai_spine.console import track
from monai_spine.errors import ExitCode, InvalidOptionError, counted
from monai_spine.files import check_separate, remove_partial, removed_if_refused, safe_name
from monai_spine.levels.files import read_study, write_points
from monai_spine.output_lock import output_lock
from monai_spine.prediction.elsewhere import Elsewhere
from monai_spine.prediction.findings_table import write_findings_table
from monai_spine.prediction.inputs import Conversion, Inputs, check_no_dicom, find_inputs
from monai_spine.prediction.merged_parts import NAME as PART
from monai_spine.prediction.merged_parts import write_part
from monai_spine.prediction.models import Models, open_models
from monai_spine.prediction.outcomes import Outcome, write_tables
from monai_spine.prediction.part import Part
from monai_spine.prediction.points_file import MarkedPoints, read_points_file
from monai_spine.prediction.progress import Progress
from monai_spine.prediction.staging import Staging
from monai_spine.prediction.study_output import StudyOutput
from monai_spine.prediction.study_task import StudyTask
from monai_spine.scoring.competition import Floats, level_prior
from monai_spine.scoring.submission import read_labels
from monai_spine.spine import FINDINGS

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
    models: Mapping[str, Any],
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
    cluster: str | None = None,
    staging: Staging | None = None,
) -> Summary:
    """The command ``monai-spine predict``. Options and models are checked before anything is converted or graded.

    Parameters
    ----------
    models
        Options of `open_models`.
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
    cluster
        The address of a Dask scheduler whose workers grade; None for processes of this machine.
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
    opened = open_models(**models)
    elsewhere = _elsewhere(models, workers, cluster)
    own = out if part is None else part.folder(out)  # other parts write their studies at the same time
    with removed_if_refused(own), output_lock(own):
        # The models are open by now: a wrong path must not show after an hour of conversion.
        inputs = find_inputs(paths, out, Conversion(name_by, workers, resume=not force, quiet=quiet))
        marked = read_points_file(points, [study.study_id for study in inputs.studies]) if points else {}
        if given_points and not any(study.record["points"] for study in inputs.studies):
            message = "--given-points: no input has points, only a datalist can; name a file with --points"
            raise InvalidOptionError(message)
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
            elsewhere=elsewhere,
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
    elsewhere: Elsewhere | None = None,
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
    elsewhere
        Other processes that grade; None for this one.
    staging
        Gets each finished study, and the tables, where the output stands for an object store.
    """
    settings = settings_of(models, given_points=given_points)
    everything, tables = len(inputs.studies), out
    if part is not None:
        inputs = replace(inputs, studies=tuple(one for one in inputs.studies if part.holds(one.study_id)))
        tables = part.folder(out)
        (tables / PART).unlink(missing_ok=True)
    # Of this run alone: other parts may be writing.
    for folder in [out] if part is None else [tables, *(out / safe_name(one.study_id) for one in inputs.studies)]:
        remove_partial(folder)
    summary = Summary(tables, refused_files=inputs.refused_files)
    progress = Progress(tables, len(inputs.studies))
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
    results = elsewhere.run(task, inputs.studies) if elsewhere else map(task, inputs.studies)
    for outcome, kept in track(results, "grade", len(inputs.studies), quiet):
        summary.kept += kept
        summary.outcomes.append(outcome)
        progress.study(outcome, kept=kept)
        if staging and not kept:
            staging.store(safe_name(outcome.study_id))
        if progress.tables_due():
            begin = time.perf_counter()
            _write_tables(inputs, out, summary, models, fill)
            progress.tables_written(time.perf_counter() - begin)
    _write_tables(inputs, out, summary, models, fill)
    summary.pace = progress.pace
    progress.end(summary.counts())
    if part is None:
        for output in outputs:
            output.finish(out)
    else:
        about = {"version": __version__, **settings, "prior": None if fill is None else fill.tolist()}
        own = len(inputs.studies)
        everything += staging.left_there if staging else 0
        write_part(part, out, settings=about, inputs=everything, studies=own, provenance=models.provenance)
    if staging:
        staging.store()
    return summary


def settings_of(models: Models, *, given_points: bool = False) -> dict[str, Any]:
    """What outcomes depend on besides the studies, for their fingerprints."""
    return {
        "levels": models.digest,
        "graders": [grader.digest for grader in models.graders],
        "given_points": given_points,
    }


def _write_tables(inputs: Inputs, out: Path, summary: Summary, models: Models, fill: Floats | None) -> None:
    """The tables of all studies so far, also of those that an earlier run has done, by their names."""
    summary.outcomes.sort(key=lambda one: one.study_id)  # other processes finish them in any order
    tables = summary.out
    write_points(tables, [read_study(out / safe_name(one.study_id)) for one in summary.outcomes if one.located])
    graded = {one.study_id for one in summary.outcomes if not one.refused}
    write_findings_table(out, [study for study in inputs.studies if study.study_id in graded], tables)
    write_tables(tables, summary.outcomes, provenance=models.provenance, trained_on=models.trained_on_cell, fill=fill)


def _elsewhere(models: Mapping[str, Any], workers: int, cluster: str | None) -> Elsewhere | None:
    if cluster is None and workers == 1:
        return None
    return Elsewhere(OnDemand.of(open_models, models), workers, cluster, models.get("device"))


def _check_paths(paths: Sequence[Path], out: Path) -> None:
    if not paths:
        raise InvalidOptionError("expected something to grade; name DICOM, NIfTI or a datalist with -i")
    bundles = [path for path in paths if (path / "configs" / "inference.json").is_file()]
    if bundles:
        raise InvalidOptionError(f"{bundles[0]} is a bundle, not an input; write --model before each bundle")
    check_separate(paths, out)
    if out.exists() and not out.is_dir():
        raise InvalidOptionError(f"the output {out} is a file; expected a folder, or the name of a new one")
