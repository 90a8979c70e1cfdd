"""What an evaluator writes when it has seen all crops: the points of the recesses, or a report of their errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.data.coverage import PLANE_LIMIT_MM
from monai_spine.files import csv_text, write_text
from monai_spine.geometry import slice_normal
from monai_spine.levels.collectors import CaseWriter, array_of
from monai_spine.levels.files import write_points, write_study
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.recesses.detection import read_recesses
from monai_spine.levels.recesses.planes import PROJECTED, Detection, recess_points
from monai_spine.levels.recesses.tasks import RecessTask
from monai_spine.levels.sagittal.points import Absent, LevelPoint, Structure
from monai_spine.spine import Side

logger = logging.getLogger(__name__)


class RecessWriter(CaseWriter):
    """Writes ``points.csv`` and a folder per study, as ``monai-spine locate`` does, but with recesses only.

    The engine's output is a list with a dictionary for each crop: ``key`` of its task, ``affine``, and under ``pred``
    the maps ``(2, 1, x, y)``.
    """

    def __init__(self, *, output_dir: str, tasks: Sequence[RecessTask]) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.tasks = list(tasks)

    def entry(self, case: Mapping[str, Any]) -> tuple[str, dict[Side, Detection]]:
        """The task's key, and the detections in its crop."""
        return str(case["key"]), read_recesses(array_of(case["pred"]), array_of(case["affine"]))

    def write(self, entries: Mapping[str, dict[Side, Detection]]) -> None:
        """Turn detections into points, and write these."""
        self.write_tasks({task.key: points_of(task, entries.get(task.key, {})) for task in self.tasks})

    def write_tasks(self, points: dict[str, list[LevelPoint]]) -> None:
        """Write the points of all tasks, by the tasks' keys."""
        # A study may have several tasks, one for each level, but has one folder.
        names = sorted({task.study_id for task in self.tasks})
        studies = [self._study(name, points) for name in names]
        for study in studies:
            write_study(self.output_dir, study)
        write_points(self.output_dir, studies)
        every = [point for one in points.values() for point in one]
        count = sum(PROJECTED not in point.flags for point in every)
        logger.info("%d of %d recesses seen: %s", count, len(every), self.output_dir / "points.csv")

    def _study(self, name: str, points: dict[str, list[LevelPoint]]) -> LocatedStudy:
        tasks = [task for task in self.tasks if task.study_id == name]
        planes = {task.level: (p.name, p.k, p.distance) for task in tasks if (p := task.plane)}
        absent = [
            Absent(Structure.RECESS, task.level, side, f"no axial plane within {PLANE_LIMIT_MM:g} mm")
            for task in tasks
            for side in Side
            if task.plane is None
        ]
        recesses = [point for task in tasks for point in points[task.key]]
        return LocatedStudy(name, tuple(recesses), tuple(absent), {}, planes)


def points_of(task: RecessTask, detections: Mapping[Side, Detection]) -> list[LevelPoint]:
    """Both recesses of a task; none if it has no plane."""
    return recess_points(task.level, task.plane, detections) if task.plane else []


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
    columns = [*_COLUMNS, *_TAIL]
    cells = [[f"{row[name]:.3f}" if isinstance(row[name], float) else row[name] for name in columns] for row in rows]
    return csv_text([columns, *cells])
