"""The report of the recess bundle: distances of refined and of projected points to the marked recesses."""

from __future__ import annotations

import csv
import io
import json
import logging
from typing import Any

import numpy as np

from monai_spine.files import write_text
from monai_spine.geometry import slice_normal
from monai_spine.levels.recesses.planes import PROJECTED
from monai_spine.levels.recesses.tasks import RecessTask
from monai_spine.levels.recesses.writer import RecessWriter
from monai_spine.levels.sagittal.points import LevelPoint

logger = logging.getLogger(__name__)

_COLUMNS = ("study", "level", "side", "projected_mm", "refined_mm", "projected_in_plane_mm", "refined_in_plane_mm")
_TAIL = ("plane_mm", "confidence", "flags")


class RecessReport(RecessWriter):
    """Writes ``metrics.json`` and ``errors.csv`` when an evaluator has seen all crops.

    For the projected and the refined points: mean and 95th percentile of the distance to the marked recess, and the
    shares within 3 and 5 mm, in space and in the slice's plane. The two differ by the choice of the slice. Refined
    points are those of the output: projected where the network was unsure.
    """

    def write_tasks(self, points: dict[str, list[LevelPoint]]) -> None:
        """Compare the points of all tasks, by the tasks' keys, with the marked ones."""
        rows = [row for task in self.tasks for row in compare(task, points[task.key])]
        marked = sum(len(task.marked) for task in self.tasks)
        # A level without a near plane has no points, and would otherwise be missing without a trace.
        content = {"marked": marked, "without_plane": marked - len(rows), **summary(rows)}
        write_text(self.output_dir / "metrics.json", json.dumps(content, indent=2) + "\n")
        write_text(self.output_dir / "errors.csv", _table(rows))
        for points_type in ("projected", "refined"):
            logger.info("recess, %s: %s", points_type, content[points_type])


def compare(task: RecessTask, points: list[LevelPoint]) -> list[dict[str, Any]]:
    """A row for every marked recess of a task; none if the task has no plane. Distances in mm."""
    if task.plane is None:
        return []
    normal = slice_normal(task.plane.grid.affine)
    rows = []
    for point in points:
        # Only marked recesses have a truth; others are searched, but not counted.
        if point.side is None or point.side not in task.marked:
            continue
        place, projected = task.marked[point.side], task.plane.projected[point.side]
        rows.append(
            {
                "study": task.study_id,
                "level": task.level.value,
                "side": point.side.value,
                "projected_mm": float(np.linalg.norm(projected - place)),
                "refined_mm": float(np.linalg.norm(point.world - place)),
                "projected_in_plane_mm": _in_plane(projected - place, normal),
                "refined_in_plane_mm": _in_plane(point.world - place, normal),
                "plane_mm": float(abs((projected - place) @ normal)),
                "confidence": point.confidence,
                "flags": ";".join(point.flags),
            }
        )
    return rows


def _in_plane(offset: np.ndarray, normal: np.ndarray) -> float:
    """Length of the part of an offset that lies in the plane with a normal."""
    return float(np.linalg.norm(offset - offset @ normal * normal))


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of rows from `compare`."""
    return {
        "seen": sum(PROJECTED not in row["flags"] for row in rows),
        "projected": _figures(rows, "projected"),
        "refined": _figures(rows, "refined"),
        "plane_mean_mm": round(float(np.mean([row["plane_mm"] for row in rows])), 3) if rows else None,
    }


def _figures(rows: list[dict[str, Any]], points_type: str) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name in ("mm", "in_plane_mm"):
        errors = np.array([row[f"{points_type}_{name}"] for row in rows])
        if not len(errors):
            continue
        figures |= {
            f"mean_{name}": round(float(errors.mean()), 3),
            f"p95_{name}": round(float(np.quantile(errors, 0.95)), 3),
            f"worst_{name}": round(float(errors.max()), 3),
            f"within_3_{name}": round(float((errors <= 3).mean()), 4),
            f"within_5_{name}": round(float((errors <= 5).mean()), 4),
        }
    return figures


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_COLUMNS, *_TAIL], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{value:.3f}" if isinstance(value, float) else value for name, value in row.items()})
    return text.getvalue()
