"""The end of the level localizer's bundle: the points of the volumes that an evaluator has seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_spine.data.datalist import Record
from monai_spine.levels.collectors import CaseWriter
from monai_spine.levels.files import write_points, write_study
from monai_spine.levels.localizers import RecessLocator
from monai_spine.levels.sagittal.points import SpinePoints, points_of
from monai_spine.levels.study_search import StudyInput, merge_volume_files

logger = logging.getLogger(__name__)


class PointWriter(CaseWriter):
    """Writes ``points.csv``, ``volumes.csv`` and a folder per study, as ``monai-spine locate`` does.

    The engine's output is a list with a dictionary for each volume: ``study_id``, ``volume`` (its name), ``image``
    ``(1, x, y, z)``, ``affine`` and under ``pred`` the maps from 0 to 1.

    ``records``: the studies, for their axial series.
    ``recesses``: finds the recesses in axial slices; without it they are projected.
    """

    def __init__(self, *, output_dir: str, records: Sequence[Record], recesses: RecessLocator | None = None) -> None:
        super().__init__()
        self.output_dir, self.recesses = Path(output_dir), recesses
        self.records = {record["study_id"]: record for record in records}

    def entry(self, case: Mapping[str, Any]) -> tuple[str, tuple[str, str, SpinePoints]]:
        """Study, volume and points."""
        study, name = str(case["study_id"]), str(case["volume"])
        return f"{study}/{name}", (study, name, points_of(case))

    def write(self, entries: Mapping[str, tuple[str, str, SpinePoints]]) -> None:
        """Unite the volumes of each study, and write its points."""
        studies = []
        # Studies of which no volume went through the engine are written too, as those without points.
        for study, record in sorted(self.records.items()):
            spines = {name: spine for owner, name, spine in entries.values() if owner == study}
            own = StudyInput.of(record)
            axial = own.named(own.axial)
            located, _ = merge_volume_files(study, spines, {}, axial, self.recesses, own.types)
            write_study(self.output_dir, located)
            studies.append(located)
        write_points(self.output_dir, studies)
        count = sum(located.has_points for located in studies)
        logger.info("%d of %d studies located: %s", count, len(studies), self.output_dir / "points.csv")
