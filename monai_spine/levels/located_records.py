"""Records of studies with the points of the localizer, in the form that crops and findings take them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from monai_spine.bundle.provenance import LEVEL_LOCALIZER, RECESS_LOCALIZER
from monai_spine.console import track
from monai_spine.data.datalist import Record
from monai_spine.levels.located_points import finding_of, points_of_findings
from monai_spine.levels.recesses.locator import RecessLocator
from monai_spine.levels.sagittal.locator import LevelLocator
from monai_spine.levels.sagittal.points import Absent, LevelPoint
from monai_spine.levels.search import StudyInput, search
from monai_spine.levels.study import NO_SPINE, LocatedStudy
from monai_spine.spine import TARGETS

logger = logging.getLogger(__name__)


def with_points(record: Record, located: LocatedStudy) -> Record:
    """The record with what was located in place of its points.

    Each by the findings' names: ``points`` in RAS mm; ``point_flags`` and ``point_confidence`` of those; and
    ``absent``, why a finding has no point.
    """
    found = {_name(point): point for point in located.points}
    reasons = {_name(one): one.reason for one in located.absent}
    return {
        **record,
        "points": points_of_findings(located.points),
        "point_flags": {name: point.flags for name, point in found.items()},
        "point_confidence": {name: point.confidence for name, point in found.items()},
        "absent": {name: reasons.get(name, NO_SPINE) for name in TARGETS if name not in found},
    }


def _name(point: LevelPoint | Absent) -> str:
    return finding_of(point.kind.value, point.level, point.side).name


def locate_records(
    records: Sequence[Record],
    *,
    given: bool = True,
    model: str | Path | None = None,
    recess_model: str | Path | None = None,
    device: str | torch.device | None = None,
    quiet: bool = False,
) -> list[Record]:
    """Records with the points of the localizer, for bundles that need points.

    A study in which no lumbar spine is found keeps no points, and ``absent`` says why.

    Parameters
    ----------
    given
        Whether records that have points keep them.
    model, recess_model
        Bundles of the localizers; None for those that are shipped.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If a localizer, which is only opened if there is something to locate, or the device is missing, or does not fit.
    """
    if given and all(record["points"] for record in records):
        return list(records)
    name = str(device) if device is not None else None
    levels = LevelLocator.from_bundle(Path(model or LEVEL_LOCALIZER), name)
    recesses = RecessLocator.from_bundle(Path(recess_model or RECESS_LOCALIZER), name)
    answers = []
    for record in track(records, "locate", len(records), quiet):
        if given and record["points"]:
            answers.append(record)
            continue
        located = search(StudyInput.of(record), levels, recesses).located
        if not located.found:
            logger.warning("study %s: %s", record["study_id"], NO_SPINE)
        answers.append(with_points(record, located))
    return answers
