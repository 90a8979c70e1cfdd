"""How columns and cells of a user's tables may be spelt."""

import re
from collections.abc import Iterable

from monai_spine.spine import FINDINGS, MISSING, Finding, Grade, Group, SeriesType

COLUMNS: dict[str, tuple[str, ...]] = {
    "study": ("study", "study_id", "case", "case_id", "exam"),
    "patient": ("patient", "patient_id", "subject", "subject_id"),
    "path": ("path", "file", "folder", "location", "image"),
    "series_type": ("series_type", "type", "series_description"),
    "condition": ("condition",),
    "level": ("level", "disc", "disc_level"),
    "finding": ("finding", "target"),
    "point": ("point",),
    "side": ("side",),
    "grade": ("grade", "label", "severity"),
    "x": ("x", "x_mm"),
    "y": ("y", "y_mm"),
    "z": ("z", "z_mm"),
}
"""Our name of each column, and the names it may have: in any case, with blanks or hyphens for underscores."""

_SERIES_TYPES = {
    **{series_type.value: series_type for series_type in SeriesType},
    "sag_t1": SeriesType.SAGITTAL_T1,
    "sagittal_t2_stir": SeriesType.SAGITTAL_T2,
    "sagittal_stir": SeriesType.SAGITTAL_T2,
    "sag_t2": SeriesType.SAGITTAL_T2,
    "sag_stir": SeriesType.SAGITTAL_T2,
    "ax_t2": SeriesType.AXIAL_T2,
}
_GRADES = {
    **{grade.column: int(grade) for grade in Grade},
    **{str(int(grade)): int(grade) for grade in Grade},
}
_GROUPS = {"canal": Group.SPINAL, "foramen": Group.FORAMINAL, "recess": Group.SUBARTICULAR}
_NO_GRADE = {"", str(MISSING)}
_FINDINGS = {finding.name: finding for finding in FINDINGS}


def plain(text: str) -> str:
    """Lower case, anything but letters and digits as one underscore: ``Normal/Mild`` is ``normal_mild``."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def column_of(name: str) -> str | None:
    """Our name of a column, a target's own where it is one of the 25, or None."""
    known = plain(name)
    if known in _FINDINGS:
        return known
    return next((ours for ours, names in COLUMNS.items() if known in names), None)


def columns_of(names: Iterable[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """A table's column names by ours; faults where two mean the same; and the names that are unknown."""
    columns: dict[str, str] = {}
    faults: list[str] = []
    unknown: list[str] = []
    for name in names:
        ours = column_of(name)
        if ours is None:
            unknown.append(name)
        elif ours in columns:
            faults.append(f"the columns {columns[ours]!r} and {name!r} both mean {ours}")
        else:
            columns[ours] = name
    return columns, faults, unknown


def series_type_named(text: str) -> SeriesType | None:
    """The series type of a cell; None if it is none of them."""
    return _SERIES_TYPES.get(plain(text))


def grade_named(text: str) -> int | None:
    """The grade of a cell: ``Normal/Mild``, ``moderate``, ``2``; -1 for an empty one; None if it is no grade."""
    return MISSING if text.strip() in _NO_GRADE else _GRADES.get(plain(text))


def finding_named(text: str) -> Finding | None:
    """A finding by its name in ``train.csv``."""
    return _FINDINGS.get(plain(text))


def finding_of(condition: str, level: str) -> Finding | None:
    """A finding by its condition (``Left Subarticular Stenosis``) and its level (``L4/L5``)."""
    return _FINDINGS.get(f"{plain(condition)}_{plain(level)}")


def finding_at(point: str, level: str, side: str) -> Finding | None:
    """A finding by its point as ``monai-spine locate`` names it: ``foramen``, ``l4_l5``, ``left``."""
    group = _GROUPS.get(plain(point))
    sides = {
        finding.condition.side.value if finding.condition.side else "": finding
        for finding in FINDINGS
        if finding.condition.group is group and finding.level.value == plain(level)
    }
    return sides.get(plain(side))
