"""How a volume's points stand to the marked ones, and the figures of many volumes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_spine.data.datalist import Record
from monai_spine.levels.sagittal.chain import Flag
from monai_spine.levels.sagittal.points import LevelPoint, PointKind, SpinePoints
from monai_spine.spine import FINDINGS, Group, Level, Side

WRONG_LEVEL_MM = 15.0
"""A canal point this far from its own level's, and nearer to a neighbour's, has the wrong level."""
_KINDS = {Group.SPINAL: PointKind.CANAL, Group.FORAMINAL: PointKind.FORAMEN}

Key = tuple[PointKind, Level, Side | None]


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
