"""The points that a recess network finds, written study by study when an evaluator has seen all crops."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_spine.data.coverage import PLANE_LIMIT_MM
from monai_spine.levels.collectors import CaseWriter, array_of
from monai_spine.levels.files import write_points, write_study
from monai_spine.levels.recesses.maps import read_recesses
from monai_spine.levels.recesses.planes import PROJECTED, Detection, recess_points
from monai_spine.levels.recesses.tasks import RecessTask
from monai_spine.levels.sagittal.points import Absent, LevelPoint, PointKind
from monai_spine.levels.study import LocatedStudy
from monai_spine.spine import Side

logger = logging.getLogger(__name__)


class RecessWriter(CaseWriter):
    """Writes ``points.csv`` and a folder per study, as ``monai-spine locate`` does, but with recesses only.

    The engine's output is a list with a dictionary for each crop: ``key`` of its task, ``affine``, and under ``pred``
    the maps ``(2, 1, x, y)``.

    Parameters
    ----------
    output_dir
        The folder to write to.
    tasks
        The recesses that were searched.
    """

    def __init__(self, *, output_dir: str, tasks: Sequence[RecessTask]) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.tasks = list(tasks)

    def entry(self, case: Mapping[str, Any]) -> tuple[str, dict[Side, Detection]]:
        """The task's key, and the detections in its crop."""
        return str(case["key"]), read_recesses(case["pred"], array_of(case["affine"]))

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
            Absent(PointKind.RECESS, task.level, side, f"no axial plane within {PLANE_LIMIT_MM:g} mm")
            for task in tasks
            for side in Side
            if task.plane is None
        ]
        recesses = [point for task in tasks for point in points[task.key]]
        return LocatedStudy(name, tuple(recesses), tuple(absent), {}, planes)


def points_of(task: RecessTask, detections: Mapping[Side, Detection]) -> list[LevelPoint]:
    """Both recesses of a task; none if it has no plane."""
    return recess_points(task.level, task.plane, detections) if task.plane else []
