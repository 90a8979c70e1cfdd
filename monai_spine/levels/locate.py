"""``monai-spine locate``: reads volumes, writes the points of the graded levels."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_spine.console import track
from monai_spine.crops.study import StudyImages
from monai_spine.data.finished_mark import fingerprint, read_mark, write_mark
from monai_spine.data.sidecars import stem_of
from monai_spine.data.studies import (
    NiftiStudy,
    check_no_pairs,
    find_study,
    folder_studies,
    listed_studies,
    nifti_files,
)
from monai_spine.data.volume import SUFFIXES
from monai_spine.data.volume_names import absent_volumes, with_names
from monai_spine.errors import (
    ExitCode,
    InvalidOptionError,
    InvalidVolumeError,
    MissingInputError,
    counted,
    listed,
    reason_of,
)
from monai_spine.files import check_separate, remove_partial, safe_name, text_of
from monai_spine.levels.files import FINISHED, LOCATED, SCHEMA, read_study, remove_located, write_points, write_study
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.sagittal.doubts import Flag
from monai_spine.levels.several_locators import SeveralLocators
from monai_spine.levels.study_search import SearchResult, StudyInput, search
from monai_spine.output_lock import output_lock

logger = logging.getLogger(__name__)


@dataclass
class Summary:
    """The studies of a run by their outcome."""

    located: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    none: list[str] = field(default_factory=list)
    refused: int = 0
    """Volumes that could not be used."""
    kept: int = 0
    """Studies that an earlier run has located."""
    verified: bool = True
    """Whether the checksums of the weights were compared."""

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` if a study has no points, or a volume could not be used."""
        return ExitCode.SOME_REFUSED if self.none or self.refused else ExitCode.DONE

    def line(self) -> str:
        """The outcome in one line."""
        kept = f" ({self.kept} done before)" if self.kept else ""
        parts = [f"{counted(len(self.located), 'study')} located{kept}"]
        parts += [f"{len(self.uncertain)} of them with uncertain levels"] if self.uncertain else []
        parts += [f"{len(self.none)} without points"] if self.none else []
        parts += [f"{counted(self.refused, 'volume')} could not be used"] if self.refused else []
        parts += ["the checksums of the weights were not compared"] if not self.verified else []
        return ", ".join(parts)


def locate(
    inputs: Sequence[Path],
    out: Path,
    locator: LevelLocator | SeveralLocators,
    recesses: RecessLocator | None = None,
    *,
    quiet: bool = False,
    verified: bool = True,
    settings: Mapping[str, object] | None = None,
    force: bool = False,
    processes: Callable[[LocateTask, Sequence[StudyInput]], Iterable[LocateResult]] | None = None,
) -> Summary:
    """Write ``points.csv``, ``volumes.csv``, and for each study JSON, markups and a picture to ``out``.

    A study stays as it is if an earlier run has located the same volumes with the same settings.

    ``inputs``: NIfTI files, each a study of its own; folders of NIfTI files, or with a sub-folder of these per study;
    or datalists. Recesses are put on axial planes if the study has an axial series.
    ``recesses``: finds the recesses in axial slices; without it they are projected.
    ``verified``: whether the checksums of the weights were compared; if not, all points are flagged.
    ``settings``: what points depend on besides the volumes, such as a digest of the localizers; None to keep no study,
    in this run and in later ones.
    ``force``: whether studies that an earlier run has located are located again.
    ``processes``: runs the task for all studies in other processes, in any order; None for this process.
    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` if an input does not exist or is none of
    these, two studies have the same name, or the output is among the inputs.
    """
    check_separate(inputs, out)
    studies = find_inputs(inputs)
    with output_lock(out):
        remove_partial(out)
        task = LocateTask(out, lambda: (locator, recesses), verified, settings, force)
        results = processes(task, studies) if processes else map(task, studies)
        return _run(track(results, "locate", len(studies), quiet), out, Summary(verified=verified))


def _run(results: Iterable[LocateResult], out: Path, summary: Summary) -> Summary:
    located = []
    for answer in results:
        result = answer.located
        located.append(result)
        summary.kept += answer.kept and result.has_points
        summary.refused += len(result.refused)
        if not result.has_points:
            summary.none.append(result.study)
            continue
        summary.located.append(result.study)
        if any("uncertain_level" in point.flags for point in result.points):
            summary.uncertain.append(result.study)
    # Other processes finish the studies in any order.
    write_points(out, sorted(located, key=lambda one: one.study))
    for names in (summary.located, summary.uncertain, summary.none):
        names.sort()
    return summary


@dataclass(frozen=True)
class LocateResult:
    """The points of a study, and whether an earlier run has found them."""

    located: LocatedStudy
    kept: bool = False


@dataclass(frozen=True)
class LocateTask:
    """Locates a study, which may fail in any way, with the reason as the state of its volumes: the others go on.

    Attributes
    ----------
    out
        The output folder, which all processes see.
    models
        Returns the localizers of levels and of recesses of this process.
    verified
        Whether the checksums of the weights were compared; if not, all points are flagged.
    settings, force
        See `locate`.
    """

    out: Path
    models: Callable[[], tuple[LevelLocator | SeveralLocators, RecessLocator | None]]
    verified: bool = True
    settings: Mapping[str, object] | None = None
    force: bool = False

    def __call__(self, study: StudyInput) -> LocateResult:
        """The points of a study, whose files are written.

        If a volume is not there, the study has no points, and files of an earlier run stay as they are: a disk that is
        not mounted must not cost good points.
        """
        if absent := absent_volumes({str(path): name for name, path in study.named(study.files).items()}):
            return LocateResult(LocatedStudy(study.study, (), (), absent | dict(study.refused), {}))
        folder, mark = self.out / study.study, self._mark(study)
        finished = read_mark(folder / FINISHED, SCHEMA, mark) if mark and not self.force else None
        if finished is not None and all((folder / name).is_file() for name in finished["files"]):
            return LocateResult(read_study(folder), kept=True)
        (folder / FINISHED).unlink(missing_ok=True)
        remove_located(folder)  # markups beside points of another run would pass for edited ones
        try:
            self._search(study).write(self.out)
        except Exception as error:  # one study must not end the run
            logger.debug("study %s failed", study.study, exc_info=error)
            named = study.named(study.files)
            reason = with_names(reason_of(error), {str(path): name for name, path in named.items()})
            failed = LocatedStudy(study.study, (), (), dict.fromkeys(named, reason) | dict(study.refused), {})
            write_study(self.out, failed)
            return LocateResult(failed)
        if mark:
            # The others may be edited, or deleted to be made anew.
            files = [name for name in LOCATED if (folder / name).is_file()]
            write_mark(folder / FINISHED, {"schema": SCHEMA, "fingerprint": mark, "files": files}, LOCATED[:1])
        # As a later run reads it, so that its tables are the same.
        return LocateResult(read_study(folder))

    def _mark(self, study: StudyInput) -> str:
        if self.settings is None:
            return ""
        about = {**self.settings, "verified": self.verified, "refused": dict(study.refused), "types": dict(study.types)}
        return fingerprint(study.study, [str(file) for file in study.files], about)

    def _search(self, study: StudyInput) -> SearchResult:
        locator, recesses = self.models()
        # Of this study alone: each volume is unpacked once, and memory stays that of one study.
        result = search(study, locator, recesses, StudyImages().opened)
        return result if self.verified else replace(result, located=_flagged(result.located))


def _flagged(located: LocatedStudy) -> LocatedStudy:
    """With a flag on every point, so that every output has it: weights that nobody has checked may be damaged."""
    flag = Flag.UNVERIFIED_WEIGHTS.value
    return replace(located, points=tuple(replace(one, flags=(*one.flags, flag)) for one in located.points))


def find_inputs(inputs: Sequence[Path]) -> list[StudyInput]:
    """The studies of the inputs of `locate`, sorted by name. A file that cannot be read is left out with its reason.

    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` as `locate`.
    Raises `InvalidVolumeError` if no file of any input can be used.
    """
    studies: list[StudyInput] = []
    for path in inputs:
        if path.exists():
            check_no_pairs(path)
        if path.name.lower().endswith(SUFFIXES) and path.is_file():
            studies.append(StudyInput(safe_name(text_of(stem_of(path))), (path,)))
        elif path.is_dir() and nifti_files(path):
            studies.append(_of_study(find_study(text_of(path.resolve().name), nifti_files(path))))
        elif path.exists():
            studies += _of_folder(path)
        else:
            raise MissingInputError(f"expected a NIfTI file, a folder of studies or a datalist, but there is no {path}")
    # Outputs are named after studies, and one would overwrite the other.
    twice = sorted(name for name, count in Counter(one.study for one in studies).items() if count > 1)
    if twice:
        raise InvalidOptionError(f"two inputs would both be written as {twice[0]}; locate them into separate folders")
    reasons = [f"{name}: {why}" for one in studies for name, why in one.refused.items()]
    if reasons and not any(one.sagittal for one in studies):
        raise InvalidVolumeError(f"no volume can be used; {listed(reasons, separator='; ')}")
    return sorted(studies, key=lambda one: one.study)


def _of_folder(path: Path) -> list[StudyInput]:
    """The studies of a datalist, or of a folder with a sub-folder for each."""
    return [_of_study(one) for one in (listed_studies(path) if path.is_file() else folder_studies(path))]


def _of_study(files: NiftiStudy) -> StudyInput:
    """A study with the files that cannot be read; if it has no sagittal volume, with all, so that a row says why."""
    study = StudyInput.of(files.record)
    if study.sagittal:
        return replace(study, refused={name: why for name, why in files.left_out.items() if name in files.unreadable})
    axial = dict.fromkeys(study.named(study.axial), "axial, and the study has no sagittal volume to find levels in")
    return replace(study, refused={**axial, **files.left_out} or {"its entry in the datalist": "it has no volume"})
