"""A study that is to be graded, before anything of it but the headers has been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from monai_spine.crops.stack import open_stack
from monai_spine.data.datalist import Record, volumes
from monai_spine.errors import SpineError
from monai_spine.spine import SeriesType

SAGITTAL = (SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2)


@dataclass(frozen=True)
class Candidate:
    """A study with the volumes that it may be graded by.

    Attributes
    ----------
    record
        Of `monai_spine.data.datalist`; its series types may all be empty.
    left_out
        Names of volumes or stacks that are not one of the three series types, and why: scouts, coronal series.
    bad
        Names of volumes or stacks that could have served but cannot be used, and why.
    """

    record: Record
    left_out: Mapping[str, str] = field(default_factory=dict)
    bad: Mapping[str, str] = field(default_factory=dict)

    @property
    def study_id(self) -> str:
        """As in tables."""
        return str(self.record["study_id"])

    @property
    def fault(self) -> str:
        """Why it cannot be graded as it is, empty if it can."""
        if any(self.record[kind.value] for kind in SAGITTAL):
            return ""
        found = "an axial series alone" if volumes(self.record) else "none of the three series types"
        reasons = [f"{name}: {why}" for name, why in {**self.bad, **self.left_out}.items()]
        return "; ".join([f"expected a sagittal T1 or T2 series to find the levels in, but found {found}", *reasons])

    def checked(self) -> Candidate:
        """Without the volumes whose voxels cannot be used: damaged, with NaN, of one grey value."""
        series: dict[str, list[str]] = {}
        bad = dict(self.bad)
        for kind in SeriesType:
            series[kind.value] = []
            for file in self.record[kind.value]:
                try:
                    open_stack(file)
                except SpineError as error:
                    bad[_name(file)] = str(error).removeprefix(f"{file}: ").replace(file, _name(file))
                else:
                    series[kind.value].append(file)
        return replace(self, record={**self.record, **series}, bad=bad)

    def volumes(self) -> dict[str, str]:
        """For people: each volume's series type, or why it is left out."""
        used = {_name(file): kind.value for kind in SeriesType for file in self.record[kind.value]}
        return used | {name: f"left out: {why}" for name, why in {**self.left_out, **self.bad}.items()}


def _name(file: str) -> str:
    return file.replace("\\", "/").rpartition("/")[2]
