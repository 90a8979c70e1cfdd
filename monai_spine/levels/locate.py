"""``monai-spine locate``: volumes in, points of the graded levels out."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from monai_spine.console import track
from monai_spine.datalist import read_content
from monai_spine.errors import ExitCode, InvalidOptionError, MissingInputError, SpineError
from monai_spine.findings import safe_name
from monai_spine.geometry import Array
from monai_spine.levels.files import write_points, write_study
from monai_spine.levels.locator import LevelLocator
from monai_spine.levels.picture import level_picture
from monai_spine.levels.points import SpinePoints, read_maps
from monai_spine.levels.recess_locator import RecessLocator
from monai_spine.levels.recesses import RecessPlane, Seen
from monai_spine.levels.study import LocatedStudy, axial_grids, unite
from monai_spine.spine import SeriesType, Side
from monai_spine.studies import find_studies
from monai_spine.transforms.landmark_maps import map_affine
from monai_spine.transforms.sagittal_grid import sagittal_grid
from monai_spine.volume import open_volume, read_volume

_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class StudyInput:
    """The volumes of a study: sagittal ones to look at, and axial ones."""

    study: str
    sagittal: tuple[Path, ...]
    axial: tuple[Path, ...] = ()


@dataclass
class Summary:
    """What became of all studies."""

    found: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    none: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> ExitCode:
        """``SOME_REFUSED`` where a study has no points."""
        return ExitCode.SOME_REFUSED if self.none else ExitCode.DONE

    def line(self) -> str:
        """One line for people."""
        parts = [f"{len(self.found)} studies located"]
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

    Parameters
    ----------
    inputs
        NIfTI files, each a study of its own; folders with a sub-folder of NIfTI files per study, or datalists, whose
        axial series say where the recesses can be seen.
    recesses
        Who looks for the recesses in axial slices; without it they are projected.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If an input is not there or of no such kind, or two studies have one name.
    """
    studies = find_inputs(inputs)
    out.mkdir(parents=True, exist_ok=True)
    summary, located = Summary(), []
    for study in track(studies, "locate", len(studies), quiet):
        answer = _locate_one(study, out, locator, recesses)
        located.append(answer)
        if not answer.found:
            summary.none.append(study.study)
            continue
        summary.found.append(study.study)
        if any("uncertain_level" in point.flags for point in answer.points):
            summary.uncertain.append(study.study)
    write_points(out, located)
    return summary


def find_inputs(inputs: Sequence[Path]) -> list[StudyInput]:
    """The studies that were named, sorted; see `locate`."""
    studies: list[StudyInput] = []
    for path in inputs:
        if path.name.endswith(_SUFFIXES):
            open_volume(path)
            studies.append(StudyInput(safe_name(path.name.removesuffix(".gz").removesuffix(".nii")), (path,)))
        elif path.is_dir() and any(file.name.endswith(_SUFFIXES) for file in path.iterdir()):
            studies += [one for one in _of_folder(path.parent) if one.study == safe_name(path.resolve().name)]
        elif path.exists():
            studies += _of_folder(path)
        else:
            raise MissingInputError(f"expected a NIfTI file, a folder of studies or a datalist, but there is no {path}")
    names = [one.study for one in studies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidOptionError(f"two inputs would both be written as {twice[0]}; locate them into separate folders")
    return sorted(studies, key=lambda one: one.study)


def _of_folder(path: Path) -> list[StudyInput]:
    sections = [name for name in ("training", "test") if read_content(path).get(name)] if path.is_file() else ["test"]
    records = [record for section in sections or ["test"] for record in find_studies(path, section)]
    return [
        StudyInput(
            safe_name(record["study_id"]),
            tuple(
                Path(file)
                for kind in (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1)
                for file in record.get(kind.value, ())
            ),
            tuple(Path(file) for file in record.get(SeriesType.AXIAL_T2.value, ())),
        )
        for record in records
    ]


def _locate_one(study: StudyInput, out: Path, locator: LevelLocator, recesses: RecessLocator | None) -> LocatedStudy:
    found: dict[str, SpinePoints] = {}
    refused: dict[str, str] = {}
    seen: dict[str, tuple[torch.Tensor, Array]] = {}
    for path in study.sagittal:
        try:
            image, affine = sagittal_grid(read_volume(path), path.name)
        except SpineError as error:
            refused[path.name] = _reason(error, path)
            continue
        found[path.name] = read_maps(locator.maps(image), map_affine(affine), image.shape, affine)
        seen[path.name] = image, affine
    axial = axial_grids(study.axial)
    unread: dict[str, str] = {}
    paths = {path.name: path for path in study.axial}
    look = functools.partial(_look, recesses, paths, unread) if recesses else None
    located = unite(study.study, found, refused, axial, look)
    located = replace(located, volumes={**located.volumes, **unread})
    write_study(out, located)
    shown = next((name for name, status in located.volumes.items() if status == "found"), next(iter(seen), None))
    if shown is not None:
        picture = level_picture(*seen[shown], located, axial)
        partial = out / study.study / ".levels.part.png"
        picture.save(partial)
        partial.replace(partial.with_name("levels.png"))
    return located


def _look(
    recesses: RecessLocator, paths: Mapping[str, Path], unread: dict[str, str], plane: RecessPlane
) -> dict[Side, Seen]:
    """What is seen in a plane; nothing if its file cannot be read, which ``unread`` is told."""
    path = paths[plane.name]
    try:
        return recesses(plane, path)
    except SpineError as error:
        unread[path.name] = _reason(error, path)
        return {}


def _reason(error: SpineError, path: Path) -> str:
    """An error's message without the file that it is about."""
    return str(error).removeprefix(f"{path.name}: ").removeprefix(f"{path}: ")
