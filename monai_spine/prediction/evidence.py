"""Where each finding of a study can be seen: its point and the slice nearest to it, or why no slice shows it.

The rule is that of `monai_spine.data.coverage`: a slice shows a point if its plane is within 5 mm of the point and the
point, projected onto the plane, lies inside the image. `coverage.VIEWS` lists the series types that may show a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.orientations import io_orientation

from monai_spine.data.coverage import PLANE_LIMIT_MM, VIEWS, Coverage, Grid, coverage_of, nearest_showing
from monai_spine.data.datalist import Record
from monai_spine.data.volume import open_volume
from monai_spine.geometry import Array
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
        The series type, and the name of the file, that show the point; None if none does.
    slice_index, slice_axis
        In that volume as stored: the slice nearest to the point, 0-based, and the axis of the array along which slices
        are counted.
    distance
        Millimetres from the point to the plane of that slice.
    coverage
        A phrase for people: what shows the point, or why nothing does.
    flags
        ``not_covered``, ``substitute_series``, ``missing_<series type>``, and those of the point.
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
class _Stack:
    """A volume turned so that its slices run along the third axis; ``axis`` is that axis in the volume as stored."""

    name: str
    grid: Grid
    axis: int


def study_evidence(record: Record) -> tuple[Evidence, ...]:
    """Evidence for the 25 findings, in the order of `FINDINGS`.

    Parameters
    ----------
    record
        As `monai_spine.data.datalist` makes it. `monai_spine.levels.located_records` may have added ``point_flags``,
        ``point_confidence`` and ``absent``.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        If the header of a volume cannot be read.
    """
    stacks = {of: [_open(Path(file), of) for file in record[of.value]] for of in SeriesType}
    missing = tuple(f"missing_{series_type.value}" for series_type in SeriesType if not stacks[series_type])
    return tuple(_evidence(finding, record, stacks, missing) for finding in FINDINGS)


def _evidence(
    finding: Finding, record: Record, stacks: dict[SeriesType, list[_Stack]], missing: tuple[str, ...]
) -> Evidence:
    name = finding.name
    point = record["points"].get(name)
    own = tuple(record.get("point_flags", {}).get(name, ()))
    confidence = record.get("point_confidence", {}).get(name)
    if point is None:
        absent = record.get("absent", {}).get(name, "no point marks it")
        coverage = f"{finding.level.title}: {absent}" if finding.level.title not in absent else absent
        return Evidence(None, None, None, None, None, None, None, coverage, (NOT_COVERED, *missing))
    position = (float(point[0]), float(point[1]), float(point[2]))
    reasons = []
    for view in VIEWS[finding.condition.group]:  # in the order in which annotators read them
        covers = [coverage_of(stack.grid, position) for stack in stacks[view]]
        best = nearest_showing(covers)
        if best is None:
            reasons.append(_why_not(view, finding, covers))
            continue
        stack, seen = stacks[view][best], covers[best]
        coverage = "; ".join([*reasons, f"{view.title}, plane {seen.distance:.1f} mm away"])
        flags = (*((SUBSTITUTE,) if reasons else ()), *missing, *own)
        return Evidence(position, confidence, view, stack.name, seen.k, stack.axis, seen.distance, coverage, flags)
    flags = (NOT_COVERED, *missing, *own)
    return Evidence(position, confidence, None, None, None, None, None, "; ".join(reasons), flags)


def _why_not(view: SeriesType, finding: Finding, covers: Sequence[Coverage]) -> str:
    if not covers:
        return f"no {view.title}"
    nearest = min(covers, key=lambda one: one.distance)
    if nearest.distance > PLANE_LIMIT_MM:
        plane = view.value.partition("_")[0]
        return f"no {plane} plane within {PLANE_LIMIT_MM:g} mm of {finding.level.title} ({nearest.distance:.1f} mm)"
    return f"{finding.level.title} is outside of the {view.title} images"


def _open(path: Path, series_type: SeriesType) -> _Stack:
    """Open a volume whose slices may run along any axis of the array: NIfTI of other converters need not be ours."""
    image = open_volume(path)
    affine: Array = np.asarray(image.affine, dtype=np.float64)
    # Slices follow the patient axis nearly normal to the series type's planes: axial up, sagittal to the right.
    world = 2 if series_type is SeriesType.AXIAL_T2 else 0
    order = io_orientation(affine)[:, 0]
    axis = int(np.flatnonzero(order == world)[0]) if (order == world).any() else 2
    axes = [n for n in range(3) if n != axis] + [axis]
    turned = affine[:, [*axes, 3]]
    return _Stack(path.name, Grid(turned, tuple(image.shape[n] for n in axes)), axis)
