"""The search for the levels of one study: in its sagittal volumes, and for the recesses in its axial ones.

It reads the files and calls both localizers; `study` makes one answer of what they find. Used by `locate` and
`predict`; `monai_spine.levels.point_writer` does the same for the volumes that a bundle's evaluator has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from monai_spine.data.coverage import Grid
from monai_spine.data.datalist import Record
from monai_spine.data.slice_plane import check_plane
from monai_spine.data.volume import Opener, open_unpacked, read_volume
from monai_spine.data.volume_names import STUDY_FOLDER, common_folder, volume_name, volume_names
from monai_spine.errors import reason_of
from monai_spine.files import safe_name, write_png
from monai_spine.geometry import Array
from monai_spine.levels.files import write_study
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.merged_volumes import LocatedStudy, merge_volumes
from monai_spine.levels.picture import level_picture
from monai_spine.levels.recesses.planes import Detection, RecessPlane, axial_grids
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.maps import Floats
from monai_spine.levels.sagittal.points import SpinePoints
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.levels.sagittal.volumes import SAGITTAL
from monai_spine.levels.several_locators import SeveralLocators
from monai_spine.spine import Level, SeriesType, Side


@dataclass(frozen=True)
class StudyInput:
    """The volumes of a study in which levels and recesses are searched."""

    study: str
    sagittal: tuple[Path, ...]
    axial: tuple[Path, ...] = ()
    types: Mapping[str, SeriesType] = field(default_factory=dict)
    """Series types of sagittal volumes by their names, as far as they are known."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why other volumes of the study cannot be read, by their names."""
    folder: str | None = None
    """The folder that names of volumes are relative to; None for the deepest one that holds them."""

    @classmethod
    def of(cls, record: Record) -> StudyInput:
        """The volumes of a record of `monai_spine.data.datalist`."""
        return cls(
            safe_name(record["study_id"]),
            tuple(Path(file) for series_type in SAGITTAL for file in record.get(series_type.value, ())),
            tuple(Path(file) for file in record.get(SeriesType.AXIAL_T2.value, ())),
            types_of(record),
            folder=record.get(STUDY_FOLDER),
        )

    def absolute(self) -> StudyInput:
        """The same study with absolute paths, for a process with another working directory."""
        sagittal, axial = (tuple(path.absolute() for path in paths) for paths in (self.sagittal, self.axial))
        folder = None if self.folder is None else str(Path(self.folder).absolute())
        return replace(self, sagittal=sagittal, axial=axial, folder=folder)

    def given_up(self, reason: str) -> StudyInput:
        """The study without its volumes, each of which is refused for this reason."""
        return StudyInput(self.study, (), refused=dict.fromkeys(self.named(self.files), reason) | dict(self.refused))

    @property
    def files(self) -> tuple[Path, ...]:
        """All its volumes."""
        return (*self.sagittal, *self.axial)

    def named(self, paths: Iterable[Path]) -> dict[str, Path]:
        """Some of its volumes by their names in outputs."""
        folder = self.folder or common_folder([*self.sagittal, *self.axial])
        return {volume_name(path, folder): path for path in paths}


def types_of(record: Record) -> dict[str, SeriesType]:
    """The series types of a record's sagittal volumes, by their names in outputs."""
    names = volume_names(record)
    return {names[str(file)]: series_type for series_type in SAGITTAL for file in record.get(series_type.value, ())}


@dataclass(frozen=True)
class SearchResult:
    """The points of a study, and the images that they were found in."""

    located: LocatedStudy
    images: Mapping[str, tuple[Floats, Array]]
    """The sagittal volumes on the localizer's grid, by name: image ``(x, y, z)``, and affine to RAS mm."""
    axial: Mapping[str, Grid]
    """Positions of the axial stacks, by name."""
    regions: Mapping[str, RegionMaps] = field(default_factory=dict)
    """The regions of the sagittal volumes that show a spine, by name."""

    def write(self, out: Path) -> None:
        """Write points as JSON and markups, and a picture, to ``out/<study>/``.

        The picture shows the first volume with a spine, or else the first volume.
        """
        write_study(out, self.located)
        with_spine = (name for name, status in self.located.volumes.items() if status == "found")
        shown = next(with_spine, next(iter(self.images), None))
        if shown is not None:
            picture = level_picture(*self.images[shown], self.located, self.axial, shown)
            write_png(out / self.located.study / "levels.png", np.asarray(picture))


def search(
    study: StudyInput,
    locator: LevelLocator | SeveralLocators,
    recesses: RecessLocator | None = None,
    opened: Opener = open_unpacked,
) -> SearchResult:
    """Find the levels of a study. For a volume that cannot be used, ``located.volumes`` holds the reason.

    ``recesses`` finds the recesses in axial slices; without it they are projected. ``opened`` opens the volumes.
    """
    refused = dict(study.refused)
    images: dict[str, tuple[Floats, Array]] = {}
    for name, path in study.named(study.sagittal).items():
        try:
            # One bad volume does not end the study, since others may show its levels.
            image, affine = sagittal_grid(read_volume(path, opened), name)
            if name in study.types:
                check_plane(path, study.types[name])
        except Exception as error:  # nibabel raises anything on damaged files; the study has others
            refused[name] = volume_reason(error, name, path)
            continue
        images[name] = image, affine
    spines = locator.study_points(images)
    axial_files = study.named(study.axial)
    located, axial = merge_volume_files(study.study, spines, refused, axial_files, recesses, study.types, opened=opened)
    regions = {name: spine.regions for name, spine in spines.items() if spine.regions is not None}
    return SearchResult(located, images, axial, regions)


def merge_volume_files(  # noqa: PLR0917 - as `merge_volumes`
    study: str,
    spines: Mapping[str, SpinePoints],
    refused: Mapping[str, str],
    axial: Mapping[str, Path],
    recesses: RecessLocator | None,
    types: Mapping[str, SeriesType] | None = None,
    *,
    opened: Opener = open_unpacked,
) -> tuple[LocatedStudy, dict[str, Grid]]:
    """`merge_volumes` with axial files by their names, which ``opened`` opens, and the positions of these, by name.

    If an axial file cannot be read, its recesses stay projected, and ``volumes`` of the study holds the reason.
    """
    grids: dict[str, Grid] = {}
    unread: dict[str, str] = {}
    for name, path in axial.items():
        try:
            grid = axial_grids({name: path}, opened)
            check_plane(path, SeriesType.AXIAL_T2)
            grids |= grid
        except Exception as error:  # as above, of an axial volume
            unread[name] = volume_reason(error, name, path)

    # `merge_volumes` knows planes and no files; this function leads from one to the other.
    def detect(_: Level, plane: RecessPlane) -> Mapping[Side, Detection]:
        path = axial[plane.name]
        try:
            return recesses(plane, path, opened) if recesses else {}
        except Exception as error:  # its voxels are read only now; recesses are projected without them
            unread[plane.name] = volume_reason(error, plane.name, path)
            return {}

    located = merge_volumes(study, spines, refused, grids, detect, types)
    return replace(located, volumes={**located.volumes, **unread}), grids


def volume_reason(error: Exception, name: str, path: Path) -> str:
    """An error's message without the file's name, under which it is written, or the folders of this machine."""
    return reason_of(error).removeprefix(f"{name}: ").removeprefix(f"{path}: ").replace(str(path), name)
