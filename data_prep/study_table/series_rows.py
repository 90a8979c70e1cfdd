"""``series.csv``: what became of every series of a user's table, and how its type was found."""

from dataclasses import astuple, dataclass, fields, replace
from enum import Enum

from monai_spine.data.series_typing import PLANES, Confidence, SeriesVerdict
from monai_spine.geometry import Plane
from monai_spine.spine import SeriesType


class Status(str, Enum):
    """What became of a series, or of one stack of it."""

    USED = "used"
    OTHER = "other"
    """Known to be none of the three series types, and not needed."""
    LEFT_OUT = "left_out"
    """Its type is unknown, or cannot be the one that was given."""
    REFUSED = "refused"
    """The images cannot be made a sound volume."""


@dataclass(frozen=True)
class SeriesReport:
    """A row of ``series.csv``; ``row`` is the row of the user's table. Paths of the input are not repeated."""

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


def final_verdict(stated: SeriesType | None, from_images: SeriesVerdict, plane: Plane) -> SeriesVerdict:
    """The verdict on a series whose type the user may have given.

    The user's word counts, unless the slices lie in another plane; then the series has no type.
    """
    if stated is None:
        return from_images
    if PLANES[stated] is not plane:
        return SeriesVerdict(None, Confidence.NONE, f"given as {stated.title}, but its slices are {plane.value}")
    doubt = from_images.series_type is not stated and not from_images.reason.startswith("neither")
    return SeriesVerdict(stated, Confidence.GIVEN, f"given; but {from_images.reason}" if doubt else "given")


def with_verdict(report: SeriesReport, verdict: SeriesVerdict) -> SeriesReport:
    """The row with a type, or with the reason why it has none."""
    series_type = verdict.series_type.value if verdict.series_type else ""
    status = Status.USED if verdict.series_type else Status.OTHER if verdict.other else Status.LEFT_OUT
    return replace(
        report, series_type=series_type, confidence=verdict.confidence.value, status=status, reason=verdict.reason
    )


def volume_name(series_type: SeriesType, number: int) -> str:
    """The name of a study's ``number``-th series of a type, counted from 1, without extension."""
    return series_type.value if number == 1 else f"{series_type.value}-{number}"
