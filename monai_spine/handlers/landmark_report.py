"""What a localizer's points are worth against marked ones: millimetres, levels, and what was missed."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events

from monai_spine.datalist import Record
from monai_spine.engine_output import gathered, studies_of
from monai_spine.levels.chain import Flag
from monai_spine.levels.points import LevelPoint, PointKind, SpinePoints, points_of
from monai_spine.spine import FINDINGS, Group, Level, Side
from monai_spine.text_file import write_text

logger = logging.getLogger(__name__)

WRONG_LEVEL_MM = 15.0
"""A canal point this far from its own level's, and nearer to a neighbour's, has the wrong level."""
_KINDS = {Group.SPINAL: PointKind.CANAL, Group.FORAMINAL: PointKind.FORAMEN}

Key = tuple[PointKind, Level, Side | None]


class LandmarkReport:
    """Writes ``metrics.json`` and ``errors.csv`` once an evaluator has seen all volumes.

    For the canal and the foramina of each series type: points marked and found, mean and 95th percentile of the error,
    in space and in the sagittal plane, shares within 3 and 5 mm; volumes without a spine, with uncertain levels, with a
    wrong level, and with a wrong level that nothing warns of.

    Parameters
    ----------
    output_dir
        The folder.
    records
        The studies with their points.
    """

    def __init__(self, *, output_dir: str, records: Sequence[Record]) -> None:
        self.output_dir = Path(output_dir)
        self.truth = {record["study_id"]: true_points(record) for record in records}
        self._rows: dict[str, dict[str, Any]] = {}

    def attach(self, engine: Engine) -> None:
        """Compare after each iteration, write at the end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self) -> None:
        self._rows = {}

    def _collect(self, engine: Engine) -> None:
        for volume in studies_of(engine):
            study = str(volume["study_id"])
            compared = compare(points_of(volume), self.truth[study])
            self._rows[f"{study}/{volume['volume']}"] = {"series_type": volume["series_type"], **compared}

    def _write(self) -> None:
        rows = gathered(self._rows)
        if idist.get_rank() != 0:
            return
        kinds = sorted({row["series_type"] for row in rows.values()})
        content = {kind: summary([row for row in rows.values() if row["series_type"] == kind]) for kind in kinds}
        write_text(self.output_dir / "metrics.json", json.dumps(content, indent=2) + "\n")
        write_text(self.output_dir / "errors.csv", _table(rows))
        for kind, figures in content.items():
            for point in ("canal", "foramen"):
                logger.info("%s %s: %s", kind, point, figures[point])


def true_points(record: Record) -> dict[Key, np.ndarray]:
    """The marked canal and foraminal points of a study, RAS mm."""
    points = record.get("points", {})
    return {
        (_KINDS[finding.condition.group], finding.level, finding.condition.side): np.asarray(points[finding.name])
        for finding in FINDINGS
        if finding.name in points and finding.condition.group in _KINDS
    }


def compare(found: SpinePoints, truth: dict[Key, np.ndarray]) -> dict[str, Any]:
    """How one volume's points stand to the marked ones; errors in mm, in space and in the sagittal plane."""
    given = {(point.kind, point.level, point.side): point for point in found.points}
    errors = [
        {
            "point": key[0].value,
            "level": key[1].value,
            "side": key[2].value if key[2] else "",
            "error": float(np.linalg.norm(given[key].world - place)),
            "in_plane": float(np.linalg.norm((given[key].world - place)[1:])),
            "flags": ";".join(given[key].flags),
        }
        for key, place in truth.items()
        if key in given
    ]
    wrong = _wrong_levels(given, truth)
    return {
        "errors": errors,
        "marked": {kind.value: sum(key[0] is kind for key in truth) for kind in _KINDS.values()},
        "none": found.chain is None,
        "uncertain": found.chain is not None and not found.chain.certain,
        "wrong_levels": len(wrong),
        "unflagged_wrong_levels": sum(Flag.UNCERTAIN_LEVEL.value not in point.flags for point in wrong),
    }


def _wrong_levels(given: dict[Key, LevelPoint], truth: dict[Key, np.ndarray]) -> list[LevelPoint]:
    canal = {key[1]: place for key, place in truth.items() if key[0] is PointKind.CANAL}
    wrong = []
    for (kind, level, _), point in given.items():
        if kind is not PointKind.CANAL or level not in canal:
            continue
        distance = {other: float(np.linalg.norm(point.world - place)) for other, place in canal.items()}
        if distance[level] > WRONG_LEVEL_MM and min(distance, key=distance.__getitem__) is not level:
            wrong.append(point)
    return wrong


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of some volumes."""
    figures: dict[str, Any] = {
        "volumes": len(rows),
        "without_spine": sum(row["none"] for row in rows),
        "uncertain": sum(row["uncertain"] for row in rows),
        "with_wrong_level": sum(row["wrong_levels"] > 0 for row in rows),
        "with_unflagged_wrong_level": sum(row["unflagged_wrong_levels"] > 0 for row in rows),
    }
    errors = defaultdict(list)
    for row in rows:
        for error in row["errors"]:
            errors[error["point"]].append((error["error"], error["in_plane"]))
    for kind in _KINDS.values():
        marked = sum(row["marked"][kind.value] for row in rows)
        figures[kind.value] = _figures(np.array(errors[kind.value]).reshape(-1, 2), marked)
    return figures


def _figures(errors: np.ndarray, marked: int) -> dict[str, float | int | None]:
    if not len(errors):
        return {"marked": marked, "found": 0}
    space, plane = errors.T
    return {
        "marked": marked,
        "found": len(errors),
        "mean_mm": round(float(space.mean()), 3),
        "p95_mm": round(float(np.quantile(space, 0.95)), 3),
        "worst_mm": round(float(space.max()), 3),
        "within_3mm": round(float((space <= 3).mean()), 4),
        "within_5mm": round(float((space <= 5).mean()), 4),
        "within_5mm_in_plane": round(float((plane <= 5).mean()), 4),
    }


def _table(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["volume,series_type,point,level,side,error_mm,in_plane_mm,flags"]
    for name, row in sorted(rows.items()):
        lines += [
            f"{name},{row['series_type']},{e['point']},{e['level']},{e['side']},{e['error']:.3f},{e['in_plane']:.3f},{e['flags']}"
            for e in row["errors"]
        ]
    return "\n".join(lines) + "\n"
