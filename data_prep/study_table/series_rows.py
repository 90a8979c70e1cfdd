"""``series.csv``: what became of every series of a user's table, and how its type was told."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace
from enum import Enum

from monai_spine.data.series_typing import Confidence, SeriesVerdict
from monai_spine.geometry import Plane
from monai_spine.spine import SeriesType


class Status(str, Enum):
    """What became of a series, or of one stack of it."""

    USED = "used"
    OTHER = "other"
    """Known to be none of the three series types, and not needed."""
    LEFT_OUT = "left_out"
    """Its type is not known, or cannot be the one that was given."""
    REFUSED = "refused"
    """The images cannot be made a sound volume."""


@dataclass(frozen=True)
class SeriesReport:
    """A row of the table: ``row`` is that of the user's table, paths of the input are not repeated."""

    study_id: str
    row: int
    series_number: str = ""
    description: str = ""
    plane: str = ""
    slices: str = ""
    series_type: str = ""
    confidence: str = ""
    status: Status = Status.LEFT_OUT
    reason: str = ""
    nifti: str = ""

    def cells(self) -> list[str]:
        """In the order of `COLUMNS`."""
        return [cell.value if isinstance(cell, Status) else str(cell) for cell in astuple(self)]


COLUMNS = tuple(field.name for field in fields(SeriesReport))

_PLANES = {
    SeriesType.SAGITTAL_T1: Plane.SAGITTAL,
    SeriesType.SAGITTAL_T2: Plane.SAGITTAL,
    SeriesType.AXIAL_T2: Plane.AXIAL,
}


def judge(given: SeriesType | None, told: SeriesVerdict, plane: Plane) -> SeriesVerdict:
    """The verdict on a series whose type may have been given.

    What was given is believed, unless the slices lie in another plane; then the series has no type.
    """
    if given is None:
        return told
    if _PLANES[given] is not plane:
        return SeriesVerdict(None, Confidence.NONE, f"given as {given.title}, but its slices are {plane.value}")
    doubt = told.series_type is not given and not told.reason.startswith("neither")
    return SeriesVerdict(given, Confidence.GIVEN, f"given; but {told.reason}" if doubt else "given")


def with_verdict(report: SeriesReport, verdict: SeriesVerdict) -> SeriesReport:
    """The row with a type, or with the reason why it has none."""
    kind = verdict.series_type.value if verdict.series_type else ""
    status = Status.USED if verdict.series_type else Status.OTHER if verdict.other else Status.LEFT_OUT
    return replace(report, series_type=kind, confidence=verdict.confidence.value, status=status, reason=verdict.reason)


def volume_name(kind: SeriesType, number: int) -> str:
    """The name of a study's ``number``-th series of a type, counted from 1, without extension."""
    return kind.value if number == 1 else f"{kind.value}-{number}"
