"""Grades one study: its levels are located, its crops graded, and its files written."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_spine.crops.study import STUDY_IMAGES, StudyImages
from monai_spine.data.datalist import Record
from monai_spine.data.volume import read_volume
from monai_spine.data.volume_names import WITHOUT_SPINE, volume_names, with_names
from monai_spine.errors import reason_of
from monai_spine.files import safe_name
from monai_spine.grading.canal_opinion import CANAL_MM
from monai_spine.grading.evidence import NOT_COVERED
from monai_spine.grading.findings import study_findings, write_findings
from monai_spine.grading.grader import Grades, mean_grades
from monai_spine.levels.files import LOCATED
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.located_records import with_points
from monai_spine.levels.marked import place
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.points import NO_SPINE, Key, LevelPoint
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.levels.study_search import StudyInput, search
from monai_spine.measures.canal import canal_diameters
from monai_spine.measures.study import canal_points
from monai_spine.prediction.models import Models
from monai_spine.prediction.outcomes import Outcome
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.prediction.reader_grades import with_reader
from monai_spine.prediction.study_output import GradedStudy, StudyOutput
from monai_spine.spine import Level, SeriesType

logger = logging.getLogger(__name__)


def grade_study(
    study: PendingStudy,
    out: Path,
    models: Models,
    mark: str,
    outputs: Sequence[StudyOutput],
    *,
    given_points: bool,
    marked: Mapping[Key, LevelPoint],
) -> Outcome:
    """The outcome of a study that may fail in any way: the others go on."""
    try:
        return _grade(study, out, models, mark, outputs, given_points=given_points, marked=marked)
    except Exception as error:  # one study must not end the run
        reason = with_names(reason_of(error), volume_names(study.record))
        logger.debug("study %s failed", study.study_id, exc_info=error)
        folder = out / safe_name(study.study_id)
        (folder / "findings.json").unlink(missing_ok=True)  # written before what failed; a refused study has no grades
        located = (folder / LOCATED[0]).is_file()
        return Outcome(study.study_id, mark, refused=reason, located=located, bad=study.bad)


def _grade(
    study: PendingStudy,
    out: Path,
    models: Models,
    mark: str,
    outputs: Sequence[StudyOutput],
    *,
    given_points: bool,
    marked: Mapping[Key, LevelPoint],
) -> Outcome:
    # Of this study alone: memory stays that of one study, however many there are.
    images = StudyImages()
    checked = study.checked(images.open)
    if checked.fault:
        return Outcome(checked.study_id, mark, refused=checked.fault, bad=checked.bad)
    record, located = checked.record, None
    regions: Mapping[str, RegionMaps] = {}
    if marked or not (given_points and record["points"]):
        located, regions = _located(record, out, models, marked, images)
        if not located.has_points:
            return Outcome(checked.study_id, mark, refused=_why_not_found(located), located=True, bad=checked.bad)
        record = with_points(record, located)
    if models.canal_locator is not None:
        record = {**record, CANAL_MM: _canal_mm(record, models.canal_locator, regions, images)}
    record = {**record, STUDY_IMAGES: images}
    grades = mean_grades(models.graders, record)
    folder = out / safe_name(study.study_id)
    content = with_reader(_findings(checked, record, grades, models, images), folder)
    write_findings(out, content)
    graded = GradedStudy(folder, content, record, models.graders, checked.frames, models.digest)
    refused_outputs = {name: why for output in outputs for name, why in output.write(graded).items()}
    flags = [flag for finding in content["findings"] for flag in finding["flags"]]
    return Outcome(
        checked.study_id,
        mark,
        located=located is not None,
        weighted=grades.weighted.tolist(),
        not_covered=flags.count(NOT_COVERED),
        flags=sorted(set(flags) - {NOT_COVERED}),
        bad=checked.bad,
        refused_outputs=refused_outputs,
        runtime=models.runtime_cell,
    )


def _located(
    record: Record, out: Path, models: Models, marked: Mapping[Key, LevelPoint], images: StudyImages
) -> tuple[LocatedStudy, Mapping[str, RegionMaps]]:
    """The levels of a study, and their files written: those marked by a person, or those that the models find.

    Also the regions of the volumes in which they were found, by the volumes' names.
    """
    volumes = StudyInput.of(record)
    if marked:
        searched = place(volumes, marked, models.recesses, images.opened)
    else:
        searched = search(volumes, models.levels, models.recesses, images.opened)
    searched.write(out)
    return searched.located, searched.regions


def _canal_mm(
    record: Record, locator: LevelLocator, regions: Mapping[str, RegionMaps], images: StudyImages
) -> dict[Level, float]:
    """The canal's diameters at its points, in the first sagittal T2 volume; none if it cannot be read or has no spine.

    ``regions`` are those that are known by now, by the volume's name.
    """
    path = next(iter(record.get(SeriesType.SAGITTAL_T2.value, ())), None)
    if path is None:
        return {}
    name = volume_names(record)[str(path)]
    if name in record.get(WITHOUT_SPINE, ()):
        return {}
    maps = regions.get(name)
    if maps is None:
        try:
            maps = locator.regions(*sagittal_grid(read_volume(path, images.opened), name))
        except Exception as error:  # the crops say what is wrong with the volume; the images alone are graded
            logger.debug("no diameter in %s", name, exc_info=error)
            return {}
    return canal_diameters(maps, canal_points(record))


def _findings(
    study: PendingStudy, record: Record, grades: Grades, models: Models, images: StudyImages
) -> dict[str, Any]:
    """The content of ``findings.json`` by the models alone. ``record`` has the points at which they graded."""
    return study_findings(
        *(record, grades.weighted, grades.natural),
        images=grades.images,
        canal_mm=record.get(CANAL_MM),
        distances=grades.distances,
        seen=[grader.seen_images(record) for grader in models.graders],
        measures=models.measurer(record, images.opened) if models.measurer is not None else None,
        provenance=models.provenance,
        about={
            "models": [grader.about for grader in models.graders],
            "localizer_runtimes": models.runtimes,
            "folder": study.folder,
            "volumes": study.volumes(),
        },
    )


def _why_not_found(located: LocatedStudy) -> str:
    statuses = set(located.volumes.values())
    if statuses <= {NO_SPINE}:
        return NO_SPINE
    return "; ".join([NO_SPINE, *(f"{name}: {why}" for name, why in located.volumes.items() if why != NO_SPINE)])
