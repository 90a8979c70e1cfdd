"""A study that is to be graded. Only the headers of its volumes have been read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_spine.data.datalist import Record, volumes
from monai_spine.data.slice_plane import check_plane
from monai_spine.data.volume_names import STUDY_FOLDER, volume_names
from monai_spine.errors import reason_of
from monai_spine.prediction.source_frame import SourceFrame
from monai_spine.spine import SeriesType

SAGITTAL = (SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2)


@dataclass(frozen=True)
class PendingStudy:
    """A study with the volumes by which it may be graded.

    Attributes
    ----------
    record
        As `monai_spine.data.datalist` makes it; its series types may all be empty.
    left_out
        Names of volumes or stacks that are none of the three series types, such as scouts, and why.
    bad
        Names of volumes or stacks of the three series types that cannot be used, and why.
    folder
        The folder of its volumes, which their names are relative to: relative to the output folder for volumes made
        from DICOM, else to the input, or to the datalist's folder.
    frames
        The DICOM frame of each slice, by the volume's name and the slice's index along its third axis; empty for NIfTI.
    why_given_up
        Why its volumes were left out, all of them; empty if they were not.
    unused
        If no slice has a frame: DICOM files of the input that are in no volume. Those of the study are among them.
    """

    record: Record
    left_out: Mapping[str, str] = field(default_factory=dict)
    bad: Mapping[str, str] = field(default_factory=dict)
    frames: Mapping[tuple[str, int], SourceFrame] = field(default_factory=dict)
    folder: str = ""
    unused: tuple[SourceFrame, ...] = ()
    why_given_up: str = ""

    @property
    def study_id(self) -> str:
        """As tables have it."""
        return str(self.record["study_id"])

    @property
    def fault(self) -> str:
        """Why the study cannot be graded; empty if it can."""
        if self.why_given_up:
            return self.why_given_up
        # Levels are found in sagittal volumes; an axial series alone does not show which level is which.
        if any(self.record[series_type.value] for series_type in SAGITTAL):
            return ""
        available = "an axial series alone" if volumes(self.record) else "none of the three series types"
        reasons = [f"{name}: {why}" for name, why in {**self.bad, **self.left_out}.items()]
        return "; ".join(
            [f"expected a sagittal T1 or T2 series to find the levels in, but found {available}", *reasons]
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """All its volumes."""
        return tuple(map(Path, volumes(self.record)))

    def absolute(self) -> PendingStudy:
        """The same study with absolute paths of its volumes, for a process with another working directory."""
        series = {one.value: tuple(str(Path(file).absolute()) for file in self.record[one.value]) for one in SeriesType}
        return replace(self, record={**self.record, **series})

    def given_up(self, reason: str) -> PendingStudy:
        """The study without its volumes, which is refused for this reason."""
        return replace(self, record={**self.record, **{one.value: () for one in SeriesType}}, why_given_up=reason)

    def below(self, root: Path) -> PendingStudy:
        """The same study with its folder relative to the input or output; ``.`` if that does not hold it."""
        folder, top = self.record[STUDY_FOLDER], root.absolute()
        # Folders above are this machine's, and outputs must not hold them.
        inside = folder and Path(folder).is_relative_to(top)
        return replace(self, folder=Path(folder).relative_to(top).as_posix() if inside else ".")

    def checked(self, opened: Callable[[str], object]) -> PendingStudy:
        """The study without volumes that cannot be used: damaged, with NaN, of one grey value, or of another plane.

        ``opened`` opens a volume and raises an error if it cannot be used.
        """
        series: dict[str, list[str]] = {}
        bad, names = dict(self.bad), volume_names(self.record)
        for series_type in SeriesType:
            series[series_type.value] = []
            for file in self.record[series_type.value]:
                try:
                    opened(file)
                    check_plane(file, series_type)
                except Exception as error:  # nibabel raises anything on damaged files; the study has others
                    # Outputs must not hold folders of this machine, so the file's name takes the place of its path.
                    bad[names[file]] = reason_of(error).removeprefix(f"{file}: ").replace(file, names[file])
                else:
                    series[series_type.value].append(file)
        return replace(self, record={**self.record, **series}, bad=bad)

    def volumes(self) -> dict[str, str]:
        """For people: the series type of each volume, or why it is left out."""
        names = volume_names(self.record)
        used = {names[file]: series_type.value for series_type in SeriesType for file in self.record[series_type.value]}
        return used | {name: f"left out: {why}" for name, why in {**self.left_out, **self.bad}.items()}
