"""Looking for the levels of one study: in its sagittal volumes, and for the recesses in its axial ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from monai_spine.data.coverage import Grid
from monai_spine.data.datalist import Record
from monai_spine.data.volume import read_volume
from monai_spine.errors import SpineError
from monai_spine.files import safe_name
from monai_spine.geometry import Array
from monai_spine.levels.files import write_study
from monai_spine.levels.picture import level_picture
from monai_spine.levels.recesses.locator import RecessLocator
from monai_spine.levels.recesses.planes import RecessPlane, Seen
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.landmark_maps import map_affine
from monai_spine.levels.sagittal.locator import LevelLocator
from monai_spine.levels.sagittal.points import SpinePoints, read_maps
from monai_spine.levels.study import LocatedStudy, axial_grids, unite
from monai_spine.spine import SeriesType, Side

LOOKED_AT = (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1)
"""Sagittal series types, the one whose picture is shown first."""


@dataclass(frozen=True)
class StudyInput:
    """The volumes of a study: sagittal ones to look at, and axial ones."""

    study: str
    sagittal: tuple[Path, ...]
    axial: tuple[Path, ...] = ()

    @classmethod
    def of(cls, record: Record) -> StudyInput:
        """The volumes of a record of `monai_spine.data.datalist`."""
        return cls(
            safe_name(record["study_id"]),
            tuple(Path(file) for kind in LOOKED_AT for file in record.get(kind.value, ())),
            tuple(Path(file) for file in record.get(SeriesType.AXIAL_T2.value, ())),
        )


@dataclass(frozen=True)
class Search:
    """What came of it.

    Attributes
    ----------
    seen
        The sagittal volumes on the localizer's grid, by name: image ``(x, y, z)``, and affine to RAS mm.
    axial
        Where the axial stacks lie, by name.
    """

    located: LocatedStudy
    seen: Mapping[str, tuple[torch.Tensor, Array]]
    axial: Mapping[str, Grid]

    def write(self, out: Path) -> None:
        """Points as JSON and markups, and a picture of the volume that led, in ``out/<study>/``."""
        write_study(out, self.located)
        found = (name for name, status in self.located.volumes.items() if status == "found")
        shown = next(found, next(iter(self.seen), None))
        if shown is not None:
            picture = level_picture(*self.seen[shown], self.located, self.axial)
            partial = out / self.located.study / ".levels.part.png"
            picture.save(partial)
            partial.replace(partial.with_name("levels.png"))


def search(study: StudyInput, locator: LevelLocator, recesses: RecessLocator | None = None) -> Search:
    """Find the levels of a study; a volume that cannot be looked at is told of in ``located.volumes``.

    Parameters
    ----------
    recesses
        Who looks for the recesses in axial slices; without it they are projected.
    """
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
    located, axial = unite_volumes(study.study, found, refused, study.axial, recesses)
    return Search(located, seen, axial)


def unite_volumes(
    study: str,
    found: Mapping[str, SpinePoints],
    refused: Mapping[str, str],
    axial: Sequence[Path],
    recesses: RecessLocator | None,
) -> tuple[LocatedStudy, dict[str, Grid]]:
    """`unite` with axial files, and where these lie, by name; one that cannot be read is told of in ``volumes``."""
    grids = axial_grids(axial)
    unread: dict[str, str] = {}
    paths = {path.name: path for path in axial}
    look = functools.partial(_look, recesses, paths, unread) if recesses else None
    located = unite(study, found, refused, grids, look)
    return replace(located, volumes={**located.volumes, **unread}), grids


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
