"""``monai-spine locate``: reads volumes, writes the points of the graded levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_spine.console import track
from monai_spine.data.datalist import read_content, read_datalist
from monai_spine.data.sidecars import stem_of
from monai_spine.data.studies import FoundStudy, check_no_pairs, find_study, nifti_files, study_folders
from monai_spine.data.volume import SUFFIXES, open_volume
from monai_spine.errors import (
    ExitCode,
    InvalidOptionError,
    InvalidVolumeError,
    MissingInputError,
    SpineError,
    counted,
    listed,
)
from monai_spine.files import check_separate, safe_name
from monai_spine.levels.files import write_points
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.search import StudyInput, reason_of, search


@dataclass
class Summary:
    """The studies of a run by their outcome."""

    found: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    none: list[str] = field(default_factory=list)
    refused: int = 0
    """Volumes that could not be used."""

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if a study has no points, or a volume could not be used."""
        return ExitCode.SOME_REFUSED if self.none or self.refused else ExitCode.DONE

    def line(self) -> str:
        """The outcome in one line."""
        parts = [f"{counted(len(self.found), 'study')} located"]
        parts += [f"{len(self.uncertain)} of them with uncertain levels"] if self.uncertain else []
        parts += [f"{len(self.none)} without points"] if self.none else []
        parts += [f"{self.refused} volumes could not be used"] if self.refused else []
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
        summary.refused += len(result.located.refused)
        if not result.located.found:
            summary.none.append(study.study)
            continue
        summary.found.append(study.study)
        if any("uncertain_level" in point.flags for point in result.located.points):
            summary.uncertain.append(study.study)
    write_points(out, located)
    return summary


def find_inputs(inputs: Sequence[Path]) -> list[StudyInput]:
    """The studies of the inputs of `locate`, sorted by name. A file that cannot be read is left out with its reason.

    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` as `locate`.
    Raises `InvalidVolumeError` if no file of any input can be used.
    """
    studies: list[StudyInput] = []
    for path in inputs:
        if path.exists():
            check_no_pairs(path)
        if path.name.lower().endswith(SUFFIXES) and path.exists():
            studies.append(_of_file(path))
        elif path.is_dir():
            studies += _of_folder(path)
        elif path.is_file():
            studies += _of_datalist(path)
        else:
            raise MissingInputError(f"expected a NIfTI file, a folder of studies or a datalist, but there is no {path}")
    names = [one.study for one in studies]
    # Outputs are named after studies, and one would overwrite the other.
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidOptionError(f"two inputs would both be written as {twice[0]}; locate them into separate folders")
    reasons = [f"{name}: {why}" for one in studies for name, why in one.left_out.items()]
    if reasons and not any(one.sagittal for one in studies):
        raise InvalidVolumeError(f"no volume can be used; {listed(reasons, separator='; ')}")
    return sorted(studies, key=lambda one: one.study)


def _of_file(path: Path) -> StudyInput:
    """A study of one file, whatever its series type."""
    name = safe_name(stem_of(path))
    try:
        open_volume(path)
    except SpineError as error:
        return StudyInput(name, (), left_out={path.name: reason_of(error, path)})
    return StudyInput(name, (path,))


def _of_folder(path: Path) -> list[StudyInput]:
    """The study of a folder with NIfTI files, or the studies of its sub-folders."""
    folders = [path.resolve()] if nifti_files(path) else study_folders(path)
    if not folders:
        raise MissingInputError(f"{path}: expected NIfTI files, or a sub-folder of them for each study, but found none")
    found = [find_study(folder.name, nifti_files(folder), leave_out_bad=True) for folder in folders]
    return [_with_left_out(study) for study in found]


def _with_left_out(found: FoundStudy) -> StudyInput:
    """A study with the files that cannot be read; if it has no sagittal volume, with all that are left out."""
    study = StudyInput.of(found.record)
    unreadable = {name: why for name, why in found.left_out.items() if name in found.unreadable}
    return replace(study, left_out=unreadable if study.sagittal else found.left_out)


def _of_datalist(path: Path) -> list[StudyInput]:
    # A datalist without studies in either section is read as "test", which raises the right error.
    sections = [name for name in ("training", "test") if read_content(path).get(name)] or ["test"]
    return [StudyInput.of(record) for section in sections for record in read_datalist(path, section)]
