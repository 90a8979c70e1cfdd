"""``monai-spine sr``: a structured report (TID 1500) as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom
from highdicom.sr import ValueTypeValues
from highdicom.sr.utils import find_content_items
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

from monai_spine.dicom_out import codes as own
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.files import csv_text
from monai_spine.geometry import LPS_TO_RAS

_CLASSES: dict[str, Any] = {
    Comprehensive3DSRStorage: hd.sr.Comprehensive3DSR,
    ComprehensiveSRStorage: hd.sr.ComprehensiveSR,
    EnhancedSRStorage: hd.sr.EnhancedSR,
}
_HEAD = ("finding", "site", "side", "evaluation")
_PLACE = ("x", "y", "z", "image", "frame", "column", "row")


@dataclass(frozen=True)
class ReportTable:
    """A report's findings.

    Attributes
    ----------
    title, comments
        For people.
    rows
        For each finding its cells by column: what and where, its measurements by name and unit with their uncertainty
        and percentile, the point in RAS mm, and the image with the point's column and row in it.
    """

    title: str
    comments: Sequence[str]
    rows: Sequence[Mapping[str, str]]

    @property
    def columns(self) -> list[str]:
        """All columns."""
        measurements = dict.fromkeys(name for row in self.rows for name in row if name not in (*_HEAD, *_PLACE))
        return [*_HEAD, *measurements, *_PLACE]

    def to_csv(self) -> str:
        """For programs."""
        return csv_text([self.columns, *([row.get(name, "") for name in self.columns] for row in self.rows)])

    def to_text(self) -> str:
        """Aligned columns, without those that are empty; rows with other measurements are in a table of their own."""
        tables: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
        for row in self.rows:
            measured = tuple(name for name in row if name not in (*_HEAD, *_PLACE))
            tables.setdefault(measured, []).append(row)
        lines = [line for rows in tables.values() for line in ("", *self._aligned(rows))]
        return "\n".join([self.title, *self.comments, *lines])

    def _aligned(self, rows: Sequence[Mapping[str, str]]) -> list[str]:
        used = [name for name in self.columns if any(row.get(name) for row in rows)]
        table = [used, *([row.get(name, "") for name in used] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table]


def read_report(path: Path) -> ReportTable:
    """The findings of a structured report.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InvalidTableError
        If it is not DICOM, or no structured report after TID 1500.
    """
    if not path.is_file():
        raise MissingInputError(f"expected a DICOM structured report, but there is no file {path}")
    try:
        header = pydicom.dcmread(path)
    except Exception as err:  # pydicom raises errors of many types on a damaged file
        raise InvalidTableError(f"{path}: expected a DICOM file, but it cannot be read ({type(err).__name__})") from err
    storage = header.get("SOPClassUID")
    if storage not in _CLASSES:
        name = getattr(storage, "name", None) or "no SOP class"
        raise InvalidTableError(f"{path}: expected a structured report, but found {name}")
    try:
        report = _CLASSES[storage].from_dataset(header).content
        if not isinstance(report, hd.sr.MeasurementReport):
            raise TypeError("it has no imaging measurements")
        groups = [*report.get_planar_roi_measurement_groups(), *report.get_image_measurement_groups()]
        rows = [_row(group) for group in groups]
        people = _items(report[0], hd.sr.CodedConcept("121008", "DCM", "Person Observer Name"))
        comments = [f"Observer: {person.value}" for person in people]
        comments += [str(item.value) for item in _items(report[0], hd.sr.CodedConcept("121106", "DCM", "Comment"))]
    except Exception as err:  # highdicom raises errors of many types on content that it does not know
        raise InvalidTableError(f"{path}: expected a report after TID 1500 ({err})") from err
    title = header.get("SeriesDescription") or report[0].name.meaning
    return ReportTable(str(title), comments, rows)


def _items(item: Any, name: hd.sr.CodedConcept, value_type: ValueTypeValues | None = None) -> list[Any]:
    return list(find_content_items(item, name=name, value_type=value_type, recursive=False))


def _row(group: Any) -> dict[str, str]:
    sites = [site.value for site in group.finding_sites]
    sides = [side for site in group.finding_sites if (side := getattr(site, "laterality", None)) is not None]
    evaluations = [_evaluation(one) for one in group.get_qualitative_evaluations()]
    return {
        "finding": group.finding_type.meaning if group.finding_type else str(group.tracking_identifier or ""),
        "site": ", ".join(site.meaning for site in sites),
        "side": sides[0].meaning if sides else "",
        "evaluation": ", ".join(evaluations),
        **{name: value for one in group.get_measurements() for name, value in _measurement(one).items()},
        **_point(group),
        **_image(group),
    }


def _measurement(one: Any) -> dict[str, str]:
    """A value by its name and unit, and its uncertainty if it has one."""
    unit = "" if one.unit == own.NO_UNITS else f" [{one.unit.value}]"
    cells = {f"{one.name.meaning}{unit}": f"{one.value:g}"}
    for item in one[0].get("ContentSequence", []):
        if item.name == own.UPPER_UNCERTAINTY:
            cells[f"{one.name.meaning} ±"] = f"{item.value:g}"
        elif item.name == own.PERCENTILE:
            cells[f"{one.name.meaning} percentile"] = f"{item.value:g}"
    return cells


def _evaluation(one: Any) -> str:
    return str(one.value.meaning) if one.name == own.SEVERITY else f"{one.name.meaning}: {one.value.meaning}"


def _point(group: Any) -> dict[str, str]:
    name = hd.sr.CodedConcept(own.POINT.value, own.POINT.scheme_designator, own.POINT.meaning)
    items = _items(group[0], name, ValueTypeValues.SCOORD3D)
    if not items:
        return {}
    place = LPS_TO_RAS @ items[0].value[0]
    return {axis: f"{mm:.2f}" for axis, mm in zip("xyz", place, strict=True)}


def _image(group: Any) -> dict[str, str]:
    region = getattr(group, "roi", None)
    if region is None or not hasattr(region, "ContentSequence"):
        return {}
    source, (column, row) = region.ContentSequence[0], region.value[0]
    frames = source.referenced_frame_numbers or [""]
    return {
        "image": str(source.referenced_sop_instance_uid),
        "frame": str(frames[0]),
        "column": f"{column:.2f}",
        "row": f"{row:.2f}",
    }
