"""Located points in the place of marked ones: records whose points come from the localizer.

The border between this package and what uses points (crops, findings): points are named after findings, in RAS mm.
"""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monai_spine.console import track
from monai_spine.csv_cells import plain
from monai_spine.data.datalist import Record
from monai_spine.data.volume_names import WITHOUT_SPINE
from monai_spine.errors import InvalidTableError, MissingInputError, listed
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.sagittal.points import FINDING_OF, NO_SPINE, Key, LevelPoint, Structure
from monai_spine.levels.study_search import StudyInput, search
from monai_spine.spine import TARGETS, Finding, Level, Side

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

Points = dict[str, tuple[float, float, float]]
"""RAS mm by the findings' names, as in a record of `monai_spine.data.datalist`."""

_COLUMNS = ("study", "point", "level", "side", "x", "y", "z")


def with_points(record: Record, located: LocatedStudy) -> Record:
    """The record with located points in place of its own.

    It sets, each by the findings' names: ``points`` in RAS mm; ``point_flags`` and ``point_confidence`` of these; and
    ``absent``, the reason why a finding has no point. ``without_spine`` are the names of the volumes in which no lumbar
    spine was found.
    """
    points = {FINDING_OF[point.key].name: point for point in located.points}
    reasons = {FINDING_OF[one.key].name: one.reason for one in located.absent}
    return {
        **record,
        "points": points_of_findings(located.points),
        "point_flags": {name: point.flags for name, point in points.items()},
        "point_confidence": {name: point.confidence for name, point in points.items()},
        "absent": {name: reasons.get(name, NO_SPINE) for name in TARGETS if name not in points},
        WITHOUT_SPINE: located.without_spine,
    }


def points_of_findings(points: Iterable[LevelPoint]) -> Points:
    """The located points of a study under the names of their findings."""
    named: Points = {}
    for point in points:
        x, y, z = (float(value) for value in point.world)
        named[FINDING_OF[point.key].name] = (x, y, z)
    return named


def locate_records(
    records: Sequence[Record],
    *,
    keep_points: bool = True,
    device: str | torch.device | None = None,
    quiet: bool = False,
) -> list[Record]:
    """Records with the points of the shipped localizers, for bundles that need points.

    A study without a lumbar spine has no points, and ``absent`` holds the reason.

    ``keep_points``: whether records that have points keep them.
    Raises `MissingInputError`, `InvalidTableError` or `InvalidOptionError` if a localizer or the device is missing or
    does not fit. Without anything to locate, no localizer is opened.
    """
    # Opening the localizers takes seconds, so it is avoided where nothing is to be located.
    if keep_points and all(record["points"] for record in records):
        return list(records)
    name = str(device) if device is not None else None
    levels, recesses = LevelLocator.from_bundle(None, name), RecessLocator.from_bundle(None, name)
    answers = []
    for record in track(records, "locate", len(records), quiet):
        if keep_points and record["points"]:
            answers.append(record)
            continue
        located = search(StudyInput.of(record), levels, recesses).located
        if not located.has_points:
            logger.warning("study %s: %s", record["study_id"], NO_SPINE)
        answers.append(with_points(record, located))
    return answers


def read_located_points(path: str | Path) -> dict[str, Points]:
    """The points of each study in a ``points.csv``.

    Raises `MissingInputError` if there is no such file.
    Raises `InvalidTableError` if a column is missing, a row cannot be read, or a point appears twice; the message names
    the first few rows.
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
        for number, row in enumerate(rows, start=2):  # row 1 is the header
            row["study"] = plain(row["study"] or "")
            try:
                finding, place = _read_row(row)
            except (KeyError, TypeError, ValueError) as err:
                faults.append(f"row {number}: {err}")
                continue
            points = studies.setdefault(row["study"], {})
            if finding.name in points:
                faults.append(f"row {number}: a second point of {finding.name} in study {row['study']}")
            # Faults are collected, so that one run names all of them.
            points[finding.name] = place
    if faults:
        raise InvalidTableError(f"{path}: {listed(faults, separator='; ')}")
    return studies


def _read_row(row: dict[str, str]) -> tuple[Finding, tuple[float, float, float]]:
    structures = [structure.value for structure in Structure]
    if row["point"] not in structures:
        raise ValueError(f"expected point out of {structures}, but found {row['point']!r}")
    key = Key(Structure(row["point"]), Level(row["level"]), Side(row["side"]) if row["side"] else None)
    if key not in FINDING_OF:
        expected = "no side" if key.structure is Structure.CANAL else "a side"
        raise ValueError(f"expected {expected} for a {row['point']}, but found {key.side}")
    x, y, z = (float(row[axis]) for axis in "xyz")
    if not all(map(math.isfinite, (x, y, z))):
        raise ValueError("expected finite coordinates")
    return FINDING_OF[key], (x, y, z)
