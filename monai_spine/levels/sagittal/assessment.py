"""Assessment of the level localizer: how far the points or peaks of a volume are from the marked ones.

`compare` and `summary` are the figures of `LandmarkReport` and benchmarks; an `Assessment` ranks volumes for
`worst_volumes`.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_spine.data.datalist import Record
from monai_spine.files import write_text
from monai_spine.geometry import Array, spacing
from monai_spine.levels.collectors import CaseWriter, array_of
from monai_spine.levels.sagittal.doubts import Flag
from monai_spine.levels.sagittal.maps import LANDMARKS
from monai_spine.levels.sagittal.metrics import matched, predicted_points, true_landmarks
from monai_spine.levels.sagittal.points import Key, LevelPoint, SpinePoints, Structure, marked_positions, points_of

WRONG_LEVEL_MM = 15.0
"""A canal point farther than this from its own level's mark, and nearer to another level's, has the wrong level. It is
about half the distance from disc to disc."""
_UNMATCHED_MM = 20.0
"""Cost of a landmark that was missed, or of a peak that is none: worse than any error of a matched one (5 mm)."""
_SAGITTAL = (Structure.CANAL, Structure.FORAMEN)


def true_points(record: Record) -> dict[Key, Array]:
    """The marked canal and foraminal points of a study, RAS mm."""
    return marked_positions(record, *_SAGITTAL)


def compare(spine: SpinePoints, truth: Mapping[Key, Array]) -> dict[str, Any]:
    """A row for one volume: its errors against the marked points in mm, in space and in the sagittal plane.

    In the plane the error across slices does not count: marks lie on the nearest slice, up to half a gap away.
    """
    points = spine.by_key
    errors = [
        {
            "point": key.structure.value,
            "level": key.level.value,
            "side": key.side.value if key.side else "",
            "error": float(np.linalg.norm(points[key].world - place)),
            "in_plane": float(np.linalg.norm((points[key].world - place)[1:])),
            "flags": ";".join(points[key].flags),
        }
        for key, place in truth.items()
        if key in points
    ]
    wrong = _wrong_levels(points, truth)
    return {
        "errors": errors,
        "marked": {one.value: sum(key.structure is one for key in truth) for one in _SAGITTAL},
        "none": spine.chain is None,
        "uncertain": spine.chain is not None and not spine.chain.certain,
        "wrong_levels": len(wrong),
        "unflagged_wrong_levels": sum(Flag.UNCERTAIN_LEVEL.value not in point.flags for point in wrong),
    }


def _wrong_levels(points: Mapping[Key, LevelPoint], truth: Mapping[Key, Array]) -> list[LevelPoint]:
    canal = {key.level: place for key, place in truth.items() if key.structure is Structure.CANAL}
    wrong = []
    for (structure, level, _), point in points.items():
        if structure is not Structure.CANAL or level not in canal:
            continue
        distance = {other: float(np.linalg.norm(point.world - place)) for other, place in canal.items()}
        # Both conditions: a poor point of the right level is not a wrong level.
        if distance[level] > WRONG_LEVEL_MM and min(distance, key=distance.__getitem__) is not level:
            wrong.append(point)
    return wrong


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of rows from `compare`."""
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
            # Figures are made over the points of all volumes, not over the means of volumes.
            errors[error["point"]].append((error["error"], error["in_plane"]))
    for structure in _SAGITTAL:
        marked = sum(row["marked"][structure.value] for row in rows)
        figures[structure.value] = _figures(np.array(errors[structure.value]).reshape(-1, 2), marked)
    return figures


def _figures(errors: np.ndarray, marked: int) -> dict[str, float | int | None]:
    if not len(errors):
        return {"marked": marked, "found": 0}
    in_space, in_plane = errors.T
    return {
        "marked": marked,
        "found": len(errors),
        "mean_mm": round(float(in_space.mean()), 3),
        "p95_mm": round(float(np.quantile(in_space, 0.95)), 3),
        "worst_mm": round(float(in_space.max()), 3),
        "within_3mm": round(float((in_space <= 3).mean()), 4),
        "within_5mm": round(float((in_space <= 5).mean()), 4),
        "within_5mm_in_plane": round(float((in_plane <= 5).mean()), 4),
    }


@dataclass(frozen=True)
class Assessment:
    """The errors of one volume as a cost, and the points to draw."""

    cost: float
    """In mm; the greater, the worse."""
    points: Array
    truth: Array
    """``points``, ``truth``: points of the localizer and marked points, RAS mm ``(n, 3)``."""
    title: str
    """The errors in words."""


def assess_peaks(image: Mapping[str, Any]) -> Assessment:
    """Assess the peaks of all maps, matched with the nearest landmarks; for images as `LandmarkMetric` takes them."""
    points, truth = ([of(image, name) for name in LANDMARKS] for of in (predicted_points, true_landmarks))
    counts = sum((matched(a, b) for a, b in zip(points, truth, strict=True)), np.zeros(4))
    hits, distance, invented, missed = counts.tolist()
    title = f"{hits:.0f} found, {missed:.0f} missed, {invented:.0f} invented"
    cost = distance + _UNMATCHED_MM * (invented + missed)
    return Assessment(cost, np.concatenate(points), np.concatenate(truth), title)


class NamedPointAssessor:
    """Assesses named points against a study's marked ones, by the largest error.

    ``records``: the studies with their points.
    """

    def __init__(self, *, records: Sequence[Record]) -> None:
        self.truth = {record["study_id"]: true_points(record) for record in records}

    def __call__(self, volume: Mapping[str, Any]) -> Assessment:
        """Assess a volume with ``study_id``, ``series_type``, ``image``, ``affine`` and ``pred``."""
        truth, spine = self.truth[str(volume["study_id"])], points_of(volume)
        row = compare(spine, truth)
        errors = [error["error"] for error in row["errors"]]
        missed = len(truth) - len(errors)
        worst = max(errors, default=0.0)
        # A missed point costs 1 mm only, so that wrong places rank before points out of view.
        title = f"{volume['study_id']} {volume['series_type']}: worst {worst:.1f} mm, {missed} not found"
        title += ", levels uncertain" if row["uncertain"] else ""
        points = np.array([point.world for point in spine.points]).reshape(-1, 3)
        return Assessment(worst + missed, points, np.array(list(truth.values())).reshape(-1, 3), title)


logger = logging.getLogger(__name__)

_HEIGHTS_MM = {"under 180 mm": (0.0, 180.0), "180 to 250 mm": (180.0, 250.0), "over 250 mm": (250.0, float("inf"))}
"""Heights of the field of view: a low one may not show the sacrum, by which levels are counted."""


class LandmarkReport(CaseWriter):
    """Writes ``metrics.json`` and ``errors.csv`` when an evaluator has seen all volumes.

    For the canal and the foramina of each series type: points marked and found, mean and 95th percentile of the error,
    in space and in the sagittal plane, shares within 3 and 5 mm; volumes without a spine, with uncertain levels, with a
    wrong level, and with a wrong level that has no flag. The same for the volumes of each height of the field of view,
    under ``by_height``.
    """

    def __init__(self, *, output_dir: str, records: Sequence[Record]) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.truth = {record["study_id"]: true_points(record) for record in records}

    def entry(self, case: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """A row for a volume."""
        study = str(case["study_id"])
        # The same reading of maps as in `locate`, so that the report is about its output.
        row = compare(points_of(case), self.truth[study])
        return f"{study}/{case['volume']}", {"series_type": case["series_type"], "height": _height(case), **row}

    def write(self, entries: Mapping[str, dict[str, Any]]) -> None:
        """Write the figures of each series type, and the errors of all points."""
        content = {}
        # T1 and T2 have figures of their own: their contrast differs, and the network may be good at one only.
        for series_type in sorted({row["series_type"] for row in entries.values()}):
            content[series_type] = _by_height([row for row in entries.values() if row["series_type"] == series_type])
        write_text(self.output_dir / "metrics.json", json.dumps(content, indent=2) + "\n")
        write_text(self.output_dir / "errors.csv", _table(entries))
        for series_type, figures in content.items():
            for point in ("canal", "foramen"):
                logger.info("%s %s: %s", series_type, point, figures[point])


def _by_height(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of volumes of one series type, all together and by the height of their field of view."""
    heights = {name: [row for row in rows if low <= row["height"] < high] for name, (low, high) in _HEIGHTS_MM.items()}
    return {**summary(rows), "by_height": {name: summary(some) for name, some in heights.items() if some}}


def _height(volume: Mapping[str, Any]) -> float:
    """Millimetres from the lowest to the highest row with a grey value above 0; small images are padded with 0."""
    rows = torch.nonzero((torch.as_tensor(volume["image"]) > 0).any(dim=0).any(dim=0).any(dim=0))[:, 0]
    step = spacing(array_of(volume["affine"]))[2]
    return float(step) * (int(rows[-1] - rows[0]) + 1) if len(rows) else 0.0


def _table(rows: Mapping[str, dict[str, Any]]) -> str:
    lines = ["volume,series_type,point,level,side,error_mm,in_plane_mm,flags"]
    for name, row in sorted(rows.items()):
        lines += [
            f"{name},{row['series_type']},{e['point']},{e['level']},{e['side']},{e['error']:.3f},{e['in_plane']:.3f},{e['flags']}"
            for e in row["errors"]
        ]
    return "\n".join(lines) + "\n"
