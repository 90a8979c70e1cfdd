"""Tasks of the recess bundle: which recesses to search in which slices, for studies whose canal points are marked.

`locate` has no marked points; it takes discs from the level localizer instead (`monai_spine.levels.merged_volumes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.data.datalist import Record
from monai_spine.data.volume_names import volume_names
from monai_spine.geometry import Array
from monai_spine.levels.recesses.planes import RecessPlane, axial_grids, recess_plane
from monai_spine.levels.sagittal.chain import Disc
from monai_spine.levels.sagittal.points import Structure, marked_positions
from monai_spine.spine import Level, SeriesType, Side


@dataclass(frozen=True)
class RecessTask:
    """Both recesses of one level of a study."""

    study_id: str
    level: Level
    plane: RecessPlane | None
    path: str | None
    """``plane``, ``path``: the plane to search and its file; None if no axial plane is near."""
    marked: Mapping[Side, Array]
    """RAS mm of the recesses that are marked."""

    @property
    def key(self) -> str:
        """A unique name of the task."""
        return f"{self.study_id}/{self.level.value}"


def recess_tasks(records: Sequence[Record], jitter: float = 0.0) -> list[RecessTask]:
    """A task for every level of the studies at which the canal is marked.

    ``jitter``: standard deviation in mm, along each axis, of a random error added to the canal points, as a localizer
    makes it.
    """
    rng = np.random.default_rng(0)  # the same errors each time, so that reports can be compared
    tasks = []
    for record in records:
        names = volume_names(record)
        paths = {names[str(path)]: Path(path) for path in record.get(SeriesType.AXIAL_T2.value, ())}
        axial = axial_grids(paths)
        canal = {
            key.level: place + rng.normal(0.0, jitter, 3)
            for key, place in marked_positions(record, Structure.CANAL).items()
        }
        marked = marked_positions(record, Structure.RECESS)
        for level, disc in discs_at(canal).items():
            plane = recess_plane(disc, axial)
            recesses = {key.side: place for key, place in marked.items() if key.side and key.level is level}
            path = str(paths[plane.name]) if plane else None
            tasks.append(RecessTask(str(record["study_id"]), level, plane, path, recesses))
    return tasks


def crops(tasks: Sequence[RecessTask]) -> list[dict[str, Any]]:
    """Records for `AxialSliced` and `RecessCropd`, of the tasks that have a plane, with each task's ``key``."""
    return [
        {
            "image": task.path,
            "slice": task.plane.k,
            "canal": task.plane.disc.canal,
            "upwards": task.plane.disc.upwards,
            "key": task.key,
        }
        for task in tasks
        if task.plane is not None
    ]


def discs_at(canal: Mapping[Level, Array]) -> dict[Level, Disc]:
    """Discs at canal points (RAS mm).

    A disc's direction leads from the next point below to the next point above; that of a single point is the patient's
    upwards.
    """
    named = [level for level in Level if level in canal]
    places = [np.asarray(canal[level], dtype=np.float64) for level in named]
    discs = {}
    for n, level in enumerate(named):
        upwards = places[max(n - 1, 0)] - places[min(n + 1, len(places) - 1)]
        length = float(np.linalg.norm(upwards))
        # Marked points are true, so their confidence is 1.
        discs[level] = Disc(places[n], 1.0, upwards / length if length > 0 else np.array([0.0, 0.0, 1.0]))
    return discs
