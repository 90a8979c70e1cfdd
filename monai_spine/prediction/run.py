"""The run of ``predict``: every study is located, graded and written, unless an earlier run has done it already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import Report
from monai_spine.console import track
from monai_spine.crops.study_images import STUDY_IMAGES, StudyImages
from monai_spine.data.datalist import volumes
from monai_spine.errors import ExitCode, InvalidOptionError, InvalidVolumeError, MissingInputError
from monai_spine.files import safe_name
from monai_spine.levels.files import read_study, write_points
from monai_spine.levels.located_records import with_points
from monai_spine.levels.search import StudyInput, search
from monai_spine.levels.study import NO_SPINE, LocatedStudy
from monai_spine.prediction.evidence import NOT_COVERED
from monai_spine.prediction.findings import study_findings, write_findings
from monai_spine.prediction.findings_table import write_findings_table
from monai_spine.prediction.grader import mean_grades
from monai_spine.prediction.inputs import Conversion, Inputs, find_inputs
from monai_spine.prediction.models import Models, open_models
from monai_spine.prediction.outcomes import NAME, Outcome, fingerprint, read_outcome, write_tables
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.study_output import GradedStudy, StudyOutput
from monai_spine.scoring.competition import Floats, level_prior
from monai_spine.scoring.submission import read_labels
from monai_spine.spine import FINDINGS


@dataclass
class Summary:
    """The outcomes of all studies; ``kept`` of them were done by an earlier run."""

    out: Path
    outcomes: list[Outcome] = field(default_factory=list)
    kept: int = 0
    refused_files: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if a study was refused, or a volume or a DICOM file could not be used."""
        refused = any(one.refused or one.bad or one.refused_outputs for one in self.outcomes) or self.refused_files
        return ExitCode.SOME_REFUSED if refused else ExitCode.DONE

    def line(self) -> str:
        """One line for people."""
        refused = sum(bool(one.refused) for one in self.outcomes)
        graded = len(self.outcomes) - refused
        not_covered = sum(one.not_covered for one in self.outcomes)
        bad = sum(len(one.bad) for one in self.outcomes)
        failed = sum(bool(one.refused_outputs) for one in self.outcomes)
        parts = [f"{graded} studies graded" + (f" ({self.kept} studies done before)" if self.kept else "")]
        parts += [f"{refused} refused"] if refused else []
        parts += [f"{not_covered} of {graded * len(FINDINGS)} findings not covered by any slice"] if not_covered else []
        parts += [f"{bad} volumes could not be used"] if bad else []
        parts += [f"{failed} studies lack an output that was asked for"] if failed else []
        parts += [f"{self.refused_files} DICOM files refused"] if self.refused_files else []
        return f"{', '.join(parts)}; see {self.out / 'studies.csv'}"


def run_predict(
    paths: Sequence[Path],
    out: Path,
    *,
    models: Mapping[str, Any],
    report: Report,
    given_points: bool,
    name_by: str,
    prior_from: Path | None,
    force: bool,
    workers: int,
    quiet: bool,
    outputs: Sequence[StudyOutput] = (),
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
    name_by, workers
        See `Conversion`.
    prior_from
        Labels whose per-level prior fills the rows of refused studies.

    Raises
    ------
    SpineError
        If an input, a model or an option cannot be used.
    """
    _check_paths(paths, out)
    fill = level_prior(read_labels(prior_from).grades) if prior_from else None
    opened = open_models(**models)
    # The models are open by now: a wrong path must not show after an hour of conversion.
    inputs = find_inputs(paths, out, Conversion(name_by, workers, resume=not force, quiet=quiet))
    report(opened.provenance)
    return predict(inputs, out, opened, given_points=given_points, force=force, fill=fill, quiet=quiet, outputs=outputs)


def predict(
    inputs: Inputs,
    out: Path,
    models: Models,
    *,
    given_points: bool = False,
    force: bool = False,
    fill: Floats | None = None,
    quiet: bool = False,
    outputs: Sequence[StudyOutput] = (),
) -> Summary:
    """Grade studies, and write to ``out`` a folder for each study and the tables of all (`outcomes.write_tables`).

    A study whose levels cannot be found is refused, and the others go on.

    Parameters
    ----------
    given_points
        Whether points of a datalist are used. Studies without points are located anyway.
    force
        Whether studies that an earlier run finished are graded again.
    fill
        ``(25, 3)`` rows of ``predictions.csv`` for refused studies; None leaves these studies out.
    outputs
        Further outputs of each graded study. A study without one of them is graded again.
    """
    settings = {
        "levels": models.digest,
        "graders": [grader.digest for grader in models.graders],
        "given_points": given_points,
    }
    summary = Summary(out, refused_files=inputs.refused_files)
    for study in track(inputs.studies, "grade", len(inputs.studies), quiet):
        folder = out / safe_name(study.study_id)
        mark = fingerprint(study.record, {**settings, "bad": study.bad, "left_out": study.left_out})
        outcome = None if force else _kept(read_outcome(folder, mark), folder, outputs)
        if outcome is None:
            # First, so that a run killed in the middle does not leave an outcome beside files of two runs.
            (folder / NAME).unlink(missing_ok=True)
            outcome = _grade(study, out, models, given_points, mark, outputs)
            if outcome.refused:
                for output in outputs:
                    output.remove(folder)
            outcome.write(folder)
        else:
            summary.kept += 1
        summary.outcomes.append(outcome)
    # Of all studies, also those that an earlier run has done.
    write_points(out, [read_study(out / safe_name(one.study_id)) for one in summary.outcomes if one.located])
    graded = {one.study_id for one in summary.outcomes if not one.refused}
    write_findings_table(out, [study for study in inputs.studies if study.study_id in graded])
    write_tables(out, summary.outcomes, provenance=models.provenance, trained_on=models.trained_on_cell, fill=fill)
    for output in outputs:
        output.finish(out)
    return summary


def _kept(outcome: Outcome | None, folder: Path, outputs: Sequence[StudyOutput]) -> Outcome | None:
    """The outcome of an earlier run, with the outputs of this one; None if an output is missing."""
    if outcome is None or outcome.refused:
        return outcome
    lacking = [name for output in outputs for name in output.lacking(folder)]
    refused = {name: outcome.refused_outputs[name] for name in lacking if name in outcome.refused_outputs}
    return replace(outcome, refused_outputs=refused) if len(refused) == len(lacking) else None


def _grade(  # noqa: PLR0917 - a study, the run's settings
    study: PendingStudy, out: Path, models: Models, given_points: bool, mark: str, outputs: Sequence[StudyOutput]
) -> Outcome:
    # Of this study alone: memory stays that of one study, however many there are.
    images = StudyImages()
    checked = study.checked(images.open)
    folder = out / safe_name(study.study_id)
    if checked.fault:
        return _refused(checked, folder, mark, checked.fault)
    record, located = checked.record, None
    if not (given_points and record["points"]):
        searched = search(StudyInput.of(record), models.levels, models.recesses, images.opened)
        searched.write(out)
        located = searched.located
        if not located.found:
            return _refused(checked, folder, mark, _why_not_found(located), located=True)
        record = with_points(record, located)
    record = {**record, STUDY_IMAGES: images}
    try:
        grades = mean_grades(models.graders, record)
        seen = [grader.seen_images(record) for grader in models.graders]
        about = {"models": [grader.about for grader in models.graders], "volumes": checked.volumes()}
        content = study_findings(
            *(record, grades.weighted, grades.natural), seen=seen, provenance=models.provenance, about=about
        )
    except (InvalidVolumeError, MissingInputError) as error:
        return _refused(checked, folder, mark, _without_folders(str(error), checked), located=located is not None)
    write_findings(out, content)
    graded = GradedStudy(folder, content, record, models.graders, checked.frames)
    refused_outputs = {name: why for output in outputs for name, why in output.write(graded).items()}
    flags = [flag for finding in content["findings"] for flag in finding["flags"]]
    return Outcome(
        checked.study_id,
        mark,
        located=located is not None,
        weighted=grades.weighted.tolist(),
        not_covered=flags.count(NOT_COVERED),
        flags=sorted(set(flags) - {NOT_COVERED}),
        bad=checked.bad,
        refused_outputs=refused_outputs,
    )


def _refused(study: PendingStudy, folder: Path, mark: str, reason: str, *, located: bool = False) -> Outcome:
    """The outcome of a study that is not graded; the files of an earlier run are removed."""
    for name in ["findings.json"] + ["points.json", "points.mrk.json", "levels.png"] * (not located):
        (folder / name).unlink(missing_ok=True)
    return Outcome(study.study_id, mark, refused=reason, located=located, bad=study.bad)


def _why_not_found(located: LocatedStudy) -> str:
    statuses = set(located.volumes.values())
    if statuses <= {NO_SPINE}:
        return NO_SPINE
    return "; ".join([NO_SPINE, *(f"{name}: {why}" for name, why in located.volumes.items() if why != NO_SPINE)])


def _without_folders(text: str, study: PendingStudy) -> str:
    """A message with names of files in place of paths: outputs must not hold folders of this machine."""
    for file in volumes(study.record):
        text = text.replace(file, Path(file).name)
    return text


def _check_paths(paths: Sequence[Path], out: Path) -> None:
    if not paths:
        raise InvalidOptionError("expected something to grade; name DICOM, NIfTI or a datalist with -i")
    bundles = [path for path in paths if (path / "configs" / "inference.json").is_file()]
    if bundles:
        raise InvalidOptionError(f"{bundles[0]} is a bundle, not an input; write --model before each bundle")
    if out.exists() and not out.is_dir():
        raise InvalidOptionError(f"the output {out} is a file; expected a folder, or the name of a new one")
