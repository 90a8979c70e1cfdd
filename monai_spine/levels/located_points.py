"""Points that `monai-spine locate` found, in the place of marked ones."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from monai_spine.errors import InvalidTableError, MissingInputError, listed
from monai_spine.spine import FINDINGS, Finding, Group, Level, Side

_COLUMNS = ("study", "point", "level", "side", "x", "y", "z")
_GROUPS = {"canal": Group.SPINAL, "foramen": Group.FORAMINAL, "recess": Group.SUBARTICULAR}
"""What a kind of point marks; `monai_spine.levels.sagittal.points.PointKind` has the same names."""

Points = dict[str, tuple[float, float, float]]
"""RAS mm by the findings' names, as in a record of `monai_spine.data.datalist`."""


class _Kind(Protocol):
    @property
    def value(self) -> str: ...


class _Located(Protocol):
    """A `monai_spine.levels.sagittal.points.LevelPoint`."""

    @property
    def kind(self) -> _Kind: ...
    @property
    def level(self) -> Level: ...
    @property
    def side(self) -> Side | None: ...
    @property
    def world(self) -> npt.NDArray[np.float64]: ...


def points_of_findings(points: Iterable[_Located]) -> Points:
    """A study's located points under the names of the findings that they stand for."""
    named: Points = {}
    for point in points:
        x, y, z = (float(value) for value in point.world)
        named[finding_of(point.kind.value, point.level, point.side).name] = (x, y, z)
    return named


def read_located_points(path: str | Path) -> dict[str, Points]:
    """Points of each study of a ``points.csv``.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InvalidTableError
        If a column lacks, a row cannot be read, or a point stands there twice; the message names the first few rows.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"expected points, but there is no file {path}; `monai-spine locate` writes one")
    studies: dict[str, Points] = {}
    faults = []
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        lacking = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
        if lacking:
            raise InvalidTableError(f"{path}: expected the columns {', '.join(_COLUMNS)}, but {listed(lacking)} lack")
        for number, row in enumerate(rows, start=2):
            try:
                finding, place = _read_row(row)
            except (KeyError, TypeError, ValueError) as err:
                faults.append(f"row {number}: {err}")
                continue
            points = studies.setdefault(row["study"], {})
            if finding.name in points:
                faults.append(f"row {number}: a second point of {finding.name} in study {row['study']}")
            points[finding.name] = place
    if faults:
        raise InvalidTableError(f"{path}: {listed(faults, separator='; ')}")
    return studies


def _read_row(row: dict[str, str]) -> tuple[Finding, tuple[float, float, float]]:
    if row["point"] not in _GROUPS:
        raise ValueError(f"expected point out of {list(_GROUPS)}, but found {row['point']!r}")
    finding = finding_of(row["point"], Level(row["level"]), Side(row["side"]) if row["side"] else None)
    x, y, z = (float(row[axis]) for axis in "xyz")
    if not all(map(math.isfinite, (x, y, z))):
        raise ValueError("expected finite coordinates")
    return finding, (x, y, z)


def finding_of(kind: str, level: Level, side: Side | None) -> Finding:
    """The finding that a point stands for; ``kind`` is ``canal``, ``foramen`` or ``recess``.

    Raises
    ------
    KeyError, ValueError
        If there is no such kind, or a side where there is none, or the other way round.
    """
    group = _GROUPS[kind]
    for finding in FINDINGS:
        if finding.level is level and finding.condition.group is group and finding.condition.side is side:
            return finding
    raise ValueError(f"expected {'no side' if group is Group.SPINAL else 'a side'} for a {kind}, but found {side}")
