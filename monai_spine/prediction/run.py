"""The run: every study located, graded, and written, unless an earlier run did so with the same models and options."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from monai_spine.console import track
from monai_spine.data.datalist import volumes
from monai_spine.errors import ExitCode, InvalidVolumeError, MissingInputError
from monai_spine.files import safe_name
from monai_spine.levels.files import read_study, write_points
from monai_spine.levels.located_records import with_points
from monai_spine.levels.search import StudyInput, search
from monai_spine.levels.study import NO_SPINE, LocatedStudy
from monai_spine.prediction.candidate import Candidate
from monai_spine.prediction.evidence import NOT_COVERED
from monai_spine.prediction.findings import study_findings, write_findings
from monai_spine.prediction.grader import mean_grades
from monai_spine.prediction.inputs import Inputs
from monai_spine.prediction.models import Models
from monai_spine.prediction.outcome import NAME, Outcome, fingerprint, read_outcome
from monai_spine.prediction.tables import write_tables
from monai_spine.scoring.competition import Floats


@dataclass
class Summary:
    """What became of all studies."""

    out: Path
    outcomes: list[Outcome] = field(default_factory=list)
    kept: int = 0
    refused_files: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` where a study, a volume that could have served, or a DICOM file was refused."""
        refused = any(one.refused or one.bad for one in self.outcomes) or self.refused_files
        return ExitCode.SOME_REFUSED if refused else ExitCode.DONE

    def line(self) -> str:
        """One line for people."""
        refused = sum(bool(one.refused) for one in self.outcomes)
        graded = len(self.outcomes) - refused
        lacking = sum(one.not_covered for one in self.outcomes)
        bad = sum(len(one.bad) for one in self.outcomes)
        parts = [f"{graded} studies graded" + (f" ({self.kept} studies done before)" if self.kept else "")]
        parts += [f"{refused} refused"] if refused else []
        parts += [f"{lacking} of {graded * 25} findings not covered by any slice"] if lacking else []
        parts += [f"{bad} volumes could not be used"] if bad else []
        parts += [f"{self.refused_files} DICOM files refused"] if self.refused_files else []
        return f"{', '.join(parts)}; see {self.out / 'studies.csv'}"


def predict(
    inputs: Inputs,
    out: Path,
    models: Models,
    *,
    given_points: bool = False,
    force: bool = False,
    fill: Floats | None = None,
    quiet: bool = False,
) -> Summary:
    """Grade studies, and write what `monai_spine.prediction.tables` lists to ``out``.

    A study whose levels cannot be found is refused, the others go on.

    Parameters
    ----------
    given_points
        Whether points of a datalist are used; studies without any are located all the same.
    force
        Whether to do studies again that an earlier run finished.
    fill
        ``(25, 3)`` rows of predictions.csv for refused studies; None leaves them out.
    """
    settings = {
        "levels": models.digest,
        "graders": [grader.digest for grader in models.graders],
        "given_points": given_points,
    }
    summary = Summary(out, refused_files=inputs.refused_files)
    for candidate in track(inputs.candidates, "grade", len(inputs.candidates), quiet):
        folder = out / safe_name(candidate.study_id)
        mark = fingerprint(candidate.record, {**settings, "bad": candidate.bad, "left_out": candidate.left_out})
        earlier = None if force else read_outcome(folder, mark)
        if earlier is None:
            (folder / NAME).unlink(missing_ok=True)
            earlier = _grade(candidate, out, models, given_points, mark)
            earlier.write(folder)
        else:
            summary.kept += 1
        summary.outcomes.append(earlier)
    write_points(out, [read_study(out / safe_name(one.study_id)) for one in summary.outcomes if one.located])
    write_tables(out, summary.outcomes, notice=models.notice, trained_on=models.told, fill=fill)
    return summary


def _grade(candidate: Candidate, out: Path, models: Models, given_points: bool, mark: str) -> Outcome:
    checked = candidate.checked()
    folder = out / safe_name(candidate.study_id)
    if checked.fault:
        return _refused(checked, folder, mark, checked.fault)
    record, located = checked.record, None
    if not (given_points and record["points"]):
        found = search(StudyInput.of(record), models.levels, models.recesses)
        found.write(out)
        located = found.located
        if not located.found:
            return _refused(checked, folder, mark, _why_not_found(located), located=True)
        record = with_points(record, located)
    try:
        grades = mean_grades(models.graders, record)
        about = {"models": [grader.about for grader in models.graders], "volumes": checked.volumes()}
        content = study_findings(record, grades.weighted, grades.natural, notice=models.notice, about=about)
    except (InvalidVolumeError, MissingInputError) as error:
        return _refused(checked, folder, mark, _without_folders(str(error), checked), located=located is not None)
    write_findings(out, content)
    flags = [flag for finding in content["findings"] for flag in finding["flags"]]
    return Outcome(
        checked.study_id,
        mark,
        located=located is not None,
        weighted=grades.weighted.tolist(),
        not_covered=flags.count(NOT_COVERED),
        flags=sorted(set(flags) - {NOT_COVERED}),
        bad=checked.bad,
    )


def _refused(candidate: Candidate, folder: Path, mark: str, reason: str, *, located: bool = False) -> Outcome:
    """A study that is not graded; what an earlier run said of it is removed."""
    for name in ["findings.json"] + ["points.json", "points.mrk.json", "levels.png"] * (not located):
        (folder / name).unlink(missing_ok=True)
    return Outcome(candidate.study_id, mark, refused=reason, located=located, bad=candidate.bad)


def _why_not_found(located: LocatedStudy) -> str:
    statuses = set(located.volumes.values())
    if statuses <= {NO_SPINE}:
        return NO_SPINE
    return "; ".join([NO_SPINE, *(f"{name}: {why}" for name, why in located.volumes.items() if why != NO_SPINE)])


def _without_folders(text: str, candidate: Candidate) -> str:
    for file in volumes(candidate.record):
        text = text.replace(file, Path(file).name)
    return text
