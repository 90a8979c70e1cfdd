"""Writes the recesses that a network finds, study by study, once an evaluator has seen all crops."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_spine.data.coverage import PLANE_LIMIT_MM
from monai_spine.levels.files import write_points, write_study
from monai_spine.levels.recesses.maps import read_recesses
from monai_spine.levels.recesses.planes import PROJECTED, Seen, recess_points
from monai_spine.levels.recesses.tasks import RecessTask
from monai_spine.levels.sagittal.points import Absent, LevelPoint, PointKind
from monai_spine.levels.study import LocatedStudy
from monai_spine.spine import Side
from monai_spine.training.engine_output import gathered, studies_of

logger = logging.getLogger(__name__)


class RecessWriter:
    """Writes ``points.csv`` and a folder per study, with recesses alone, in the form of ``monai-spine locate``.

    The engine's output is a list with a dictionary for each crop: ``key`` of its task, ``affine``, and under ``pred``
    the maps ``(2, 1, x, y)``.

    Parameters
    ----------
    output_dir
        The folder.
    tasks
        What was to be looked for.
    """

    def __init__(self, *, output_dir: str, tasks: Sequence[RecessTask]) -> None:
        self.output_dir = Path(output_dir)
        self.tasks = list(tasks)
        self._seen: dict[str, dict[Side, Seen]] = {}

    def attach(self, engine: Engine) -> None:
        """Collect after each iteration, write at the end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self) -> None:
        self._seen = {}

    def _collect(self, engine: Engine) -> None:
        for crop in studies_of(engine):
            affine = np.asarray(torch.as_tensor(crop["affine"]).cpu(), dtype=np.float64)
            self._seen[str(crop["key"])] = read_recesses(crop["pred"], affine)

    def _finish(self) -> None:
        seen = gathered(self._seen)
        if idist.get_rank() == 0:
            self.write({task.key: points_of(task, seen.get(task.key, {})) for task in self.tasks})

    def write(self, points: dict[str, list[LevelPoint]]) -> None:
        """Write the points of the tasks, by their keys."""
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
        given = [point for task in tasks for point in points[task.key]]
        return LocatedStudy(name, tuple(given), tuple(absent), {}, planes)


def points_of(task: RecessTask, seen: dict[Side, Seen]) -> list[LevelPoint]:
    """Both recesses of a task, none without a plane."""
    return recess_points(task.level, task.plane, seen) if task.plane else []
