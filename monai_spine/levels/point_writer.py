"""Writes the points that a localizer finds, study by study, once an evaluator has seen all volumes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from monai_spine.data.datalist import Record
from monai_spine.levels.files import write_points, write_study
from monai_spine.levels.recesses.locator import RecessLocator
from monai_spine.levels.sagittal.points import SpinePoints, points_of
from monai_spine.levels.search import unite_volumes
from monai_spine.spine import SeriesType
from monai_spine.training.engine_output import gathered, studies_of

logger = logging.getLogger(__name__)


class PointWriter:
    """Writes ``points.csv``, ``volumes.csv`` and a folder per study, as ``monai-spine locate`` does.

    The engine's output is a list with a dictionary for each volume: ``study_id``, ``volume`` (its name), ``image``
    ``(1, x, y, z)``, ``affine`` and under ``pred`` the maps from 0 to 1.

    Parameters
    ----------
    output_dir
        The folder.
    records
        The studies, for their axial series.
    recesses
        Who looks for the recesses in axial slices; without it they are projected.
    """

    def __init__(self, *, output_dir: str, records: Sequence[Record], recesses: RecessLocator | None = None) -> None:
        self.output_dir, self.recesses = Path(output_dir), recesses
        self.records = {record["study_id"]: record for record in records}
        self._found: dict[str, tuple[str, str, SpinePoints]] = {}

    def attach(self, engine: Engine) -> None:
        """Collect after each iteration, write at the end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self) -> None:
        self._found = {}

    def _collect(self, engine: Engine) -> None:
        for volume in studies_of(engine):
            study, name = str(volume["study_id"]), str(volume["volume"])
            self._found[f"{study}/{name}"] = (study, name, points_of(volume))

    def _write(self) -> None:
        found = gathered(self._found)
        if idist.get_rank() != 0:
            return
        studies = []
        for study, record in sorted(self.records.items()):
            mine = {name: points for owner, name, points in found.values() if owner == study}
            axial = [Path(file) for file in record.get(SeriesType.AXIAL_T2.value, ())]
            located, _ = unite_volumes(study, mine, {}, axial, self.recesses)
            write_study(self.output_dir, located)
            studies.append(located)
        write_points(self.output_dir, studies)
        count = sum(located.found for located in studies)
        logger.info("%d of %d studies located: %s", count, len(studies), self.output_dir / "points.csv")
