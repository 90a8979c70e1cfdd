"""Where each finding of a study can be seen: its point and the slice nearest to it, or why no slice shows it.

Only slices count that a model saw: those of the crops that were graded, or all slices where a model sees whole volumes.
A slice shows a point by the rule of `monai_spine.data.coverage`: its plane is within 5 mm of the point, and the point,
projected onto the plane, lies inside the image and the crop. `coverage.VIEWS` lists the series types that may show a
finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_spine.crops.stack import open_position
from monai_spine.crops.study import STUDY_IMAGES, SeenStack, StudyCrops
from monai_spine.crops.view import DIRECTIONS
from monai_spine.data.coverage import VIEWS, nearest_showing, why_not_covered
from monai_spine.data.datalist import Record
from monai_spine.data.volume_names import WITHOUT_SPINE, volume_names
from monai_spine.geometry import Plane
from monai_spine.spine import FINDINGS, Finding, SeriesType

NOT_COVERED = "not_covered"
"""Flag of a finding that no slice shows: its probabilities come from images that do not show it."""
SUBSTITUTE = "substitute_series"
"""Flag of a finding that is seen in a substitute series: another type than the one that annotators read first."""


@dataclass(frozen=True)
class Evidence:
    """Where a finding can be seen.

    Attributes
    ----------
    point
        RAS mm; None if the position of the finding is not known.
    confidence
        Of the point, from 0 to 1; None for points that come from a datalist.
    series, volume
        The series type, and the name of the volume (`monai_spine.data.volume_names`), that show the point; None if none
        does.
    slice_index, slice_axis
        In that volume as stored: the slice nearest to the point, 0-based, and the axis of the array along which slices
        are counted.
    distance
        Millimetres from the point to the plane of that slice.
    coverage
        A phrase for people: what shows the point, or why nothing does.
    flags
        ``not_covered``, ``substitute_series``, ``without_spine``, ``missing_<series type>``, and those of the point.
    """

    point: tuple[float, float, float] | None
    confidence: float | None
    series: SeriesType | None
    volume: str | None
    slice_index: int | None
    slice_axis: int | None
    distance: float | None
    coverage: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class SeenImages:
    """The images of a study that a model grades.

    Attributes
    ----------
    crops
        The crops that it sees; empty if it sees the whole volumes.
    graded
        ``(25,)``: which findings it grades; None for all.
    """

    crops: Sequence[StudyCrops] = ()
    graded: npt.NDArray[np.bool_] | None = None


def study_evidence(record: Record, seen: Sequence[SeenImages] = ()) -> tuple[Evidence, ...]:
    """Evidence for the 25 findings, in the order of `FINDINGS`.

    Parameters
    ----------
    record
        As `monai_spine.data.datalist` makes it. `monai_spine.levels.located_records` may have added ``point_flags``,
        ``point_confidence``, ``absent`` and ``without_spine``.
    seen
        The images that each model saw. If there are none, a model saw the whole volumes.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        If the header of a volume cannot be read.
    """
    seen = seen or (SeenImages(),)
    whole = () if all(one.crops for one in seen) else _whole_volumes(record)
    missing = tuple(f"missing_{series_type.value}" for series_type in SeriesType if not record[series_type.value])
    evidence = []
    for n, finding in enumerate(FINDINGS):
        graders = [one for one in seen if one.graded is None or one.graded[n]]
        crops = [crops for one in graders for crops in one.crops]
        volumes = whole if any(not one.crops for one in graders) else ()
        evidence.append(_evidence(finding, record, crops, volumes, missing))
    return tuple(evidence)


def _evidence(
    finding: Finding,
    record: Record,
    crops: Sequence[StudyCrops],
    volumes: Sequence[SeenStack],
    missing: tuple[str, ...],
) -> Evidence:
    name = finding.name
    point = record["points"].get(name)
    own = tuple(record.get("point_flags", {}).get(name, ()))
    confidence = record.get("point_confidence", {}).get(name)
    without_spine = record.get(WITHOUT_SPINE, ())
    if point is None:
        absent = record.get("absent", {}).get(name, "no point marks it")
        coverage = f"{finding.level.title}: {absent}" if finding.level.title not in absent else absent
        return Evidence(None, None, None, None, None, None, None, coverage, (NOT_COVERED, *missing))
    position = (float(point[0]), float(point[1]), float(point[2]))
    seen = [*_in_crops(finding, crops), *volumes]
    reasons = []
    for series_type in VIEWS[finding.condition.group]:  # in the order in which annotators read them
        stacks = [one.stack for one in seen if one.series is series_type]
        coverages = [one.coverage(position) for one in seen if one.series is series_type]
        best = nearest_showing(coverages)
        if best is None:
            unseen = "" if coverages else _why_not_in_crops(series_type, finding, record, crops)
            reasons.append(unseen or why_not_covered(series_type, coverages))
            continue
        stack, nearest = stacks[best], coverages[best]
        axis, index = stack.stored_slice(nearest.k)
        coverage = "; ".join([*reasons, f"{series_type.title}, plane {nearest.distance:.1f} mm away"])
        # A stack out of a crop cache has the volume's name already.
        volume = volume_names(record).get(stack.name, stack.name)
        odd = (*((SUBSTITUTE,) if reasons else ()), *((WITHOUT_SPINE,) if volume in without_spine else ()))
        flags = (*odd, *missing, *own)
        return Evidence(position, confidence, series_type, volume, index, axis, nearest.distance, coverage, flags)
    flags = (NOT_COVERED, *missing, *own)
    return Evidence(position, confidence, None, None, None, None, None, "; ".join(reasons), flags)


def _in_crops(finding: Finding, crops: Sequence[StudyCrops]) -> list[SeenStack]:
    """What crops show of a finding's level, first the views that are centred on findings of its group."""
    views = [(one, view) for one in crops for view in one.views]
    views.sort(key=lambda pair: pair[1].anchor is not finding.condition.group)
    return [seen for one, view in views if (seen := one.seen(view, finding.level)) is not None]


def _why_not_in_crops(series_type: SeriesType, finding: Finding, record: Record, crops: Sequence[StudyCrops]) -> str:
    """Why no crop of a finding's level shows a series type that the study has; empty if it has none."""
    if not record[series_type.value] or not crops:
        return ""
    sources = [one.source(view, finding.level) for one in crops for view in one.views]
    reasons = [one.not_covered[series_type] for one in sources if series_type in one.not_covered]
    return reasons[0] if reasons else f"{series_type.title}: in no crop of {finding.level.title}"


def _whole_volumes(record: Record) -> list[SeenStack]:
    opened = record[STUDY_IMAGES].open if STUDY_IMAGES in record else open_position
    stacks = []
    for series_type in SeriesType:
        # Slices run along the patient axis nearly normal to the planes, in whatever order the file stores its axes.
        directions = DIRECTIONS[Plane.AXIAL if series_type is SeriesType.AXIAL_T2 else Plane.SAGITTAL]
        stacks += [SeenStack(series_type, opened(file).turned(directions)) for file in record[series_type.value]]
    return stacks
