"""``monai-spine locate``: reads volumes, writes the points of the graded levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_spine.console import track
from monai_spine.data.datalist import read_content
from monai_spine.data.sidecars import stem_of
from monai_spine.data.studies import check_no_pairs, find_studies, find_study, nifti_files
from monai_spine.data.volume import SUFFIXES, open_volume
from monai_spine.errors import ExitCode, InvalidOptionError, MissingInputError, counted
from monai_spine.files import check_separate, safe_name
from monai_spine.levels.files import write_points
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.search import StudyInput, search


@dataclass
class Summary:
    """The studies of a run by their outcome."""

    found: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    none: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if a study has no points."""
        return ExitCode.SOME_REFUSED if self.none else ExitCode.DONE

    def line(self) -> str:
        """The outcome in one line."""
        parts = [f"{counted(len(self.found), 'study')} located"]
        parts += [f"{len(self.uncertain)} of them with uncertain levels"] if self.uncertain else []
        parts += [f"{len(self.none)} without points"] if self.none else []
        return ", ".join(parts)


def locate(
    inputs: Sequence[Path],
    out: Path,
    locator: LevelLocator,
    recesses: RecessLocator | None = None,
    *,
    quiet: bool = False,
) -> Summary:
    """Write ``points.csv``, ``volumes.csv``, and for each study JSON, markups and a picture to ``out``.

    ``inputs``: NIfTI files, each a study of its own; folders of NIfTI files, or with a sub-folder of these per study;
    or datalists. Recesses are put on axial planes if the study has an axial series.
    ``recesses``: finds the recesses in axial slices; without it they are projected.
    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` if an input does not exist or is none of
    these, two studies have the same name, or the output is among the inputs.
    """
    check_separate(inputs, out)
    studies = find_inputs(inputs)
    out.mkdir(parents=True, exist_ok=True)
    summary, located = Summary(), []
    for study in track(studies, "locate", len(studies), quiet):
        result = search(study, locator, recesses)
        result.write(out)
        located.append(result.located)
        if not result.located.found:
            summary.none.append(study.study)
            continue
        summary.found.append(study.study)
        if any("uncertain_level" in point.flags for point in result.located.points):
            summary.uncertain.append(study.study)
    write_points(out, located)
    return summary


def find_inputs(inputs: Sequence[Path]) -> list[StudyInput]:
    """The studies of the inputs of `locate`, sorted by name."""
    studies: list[StudyInput] = []
    for path in inputs:
        if path.is_file():
            check_no_pairs(path)
        if path.name.lower().endswith(SUFFIXES):
            open_volume(path)  # a wrong file ends the command here, before anything is written
            studies.append(StudyInput(safe_name(stem_of(path)), (path,)))
        elif path.is_dir() and nifti_files(path):
            studies.append(StudyInput.of(find_study(path.resolve().name, nifti_files(path)).record))
        elif path.exists():
            studies += _of_folder(path)
        else:
            raise MissingInputError(f"expected a NIfTI file, a folder of studies or a datalist, but there is no {path}")
    names = [one.study for one in studies]
    # Outputs are named after studies, and one would overwrite the other.
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidOptionError(f"two inputs would both be written as {twice[0]}; locate them into separate folders")
    return sorted(studies, key=lambda one: one.study)


def _of_folder(path: Path) -> list[StudyInput]:
    # A folder has no sections; a datalist without studies in either is read as "test", which raises the right error.
    sections = [name for name in ("training", "test") if read_content(path).get(name)] if path.is_file() else ["test"]
    records = [record for section in sections or ["test"] for record in find_studies(path, section)]
    return [StudyInput.of(record) for record in records]
