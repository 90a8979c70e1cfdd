"""Where each finding of a study can be seen: its point, the slice nearest to it, and what stands in the way.

The rule is that of `monai_spine.data.coverage`: a slice shows a point if its plane is within 5 mm and the point's foot
inside of the image. Which series types may show a finding, `coverage.VIEWS` says.
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
"""Flag of a finding that no slice shows: its probabilities are what the model says of images that are not there."""
STAND_IN = "stand_in"
"""Flag of a finding that is seen in another series type than the one annotators read first."""


@dataclass(frozen=True)
class Evidence:
    """Where a finding can be seen.

    Attributes
    ----------
    point
        RAS mm; None if nothing tells where the finding is.
    confidence
        Of the point, from 0 to 1; None for points that somebody gave.
    series, volume
        The series type and the file (its name) that shows the point; None if none does.
    slice_index, slice_axis
        Of that volume as stored: the slice nearest to the point, 0-based, and the array's axis that counts slices.
    distance
        Millimetres from the point to that slice's plane.
    coverage
        A sentence for people.
    flags
        ``not_covered``, ``stand_in``, ``missing_<series type>``, and those of the point.
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
    """A volume with its slices along the third axis."""

    name: str
    kind: SeriesType
    grid: Grid
    axis: int


def study_evidence(record: Record) -> tuple[Evidence, ...]:
    """Evidence for the 25 findings, in the order of `FINDINGS`.

    Parameters
    ----------
    record
        Of `monai_spine.data.datalist`, or with what `monai_spine.levels.located_records` adds to it: ``point_flags``,
        ``point_confidence`` and ``absent``.

    Raises
    ------
    MissingInputError, InvalidVolumeError
        If the header of a volume cannot be read.
    """
    stacks = {kind: [_open(Path(file), kind) for file in record[kind.value]] for kind in SeriesType}
    missing = tuple(f"missing_{kind.value}" for kind in SeriesType if not stacks[kind])
    return tuple(_evidence(finding, record, stacks, missing) for finding in FINDINGS)


def _evidence(
    finding: Finding, record: Record, stacks: dict[SeriesType, list[_Stack]], missing: tuple[str, ...]
) -> Evidence:
    name = finding.name
    point = record["points"].get(name)
    own = tuple(record.get("point_flags", {}).get(name, ()))
    confidence = record.get("point_confidence", {}).get(name)
    if point is None:
        absent = record.get("absent", {}).get(name, "no point says where it is")
        coverage = f"{finding.level.title}: {absent}" if finding.level.title not in absent else absent
        return Evidence(None, None, None, None, None, None, None, coverage, (NOT_COVERED, *missing))
    place = (float(point[0]), float(point[1]), float(point[2]))
    reasons = []
    for kind in VIEWS[finding.condition.group]:
        covers = [coverage_of(stack.grid, place) for stack in stacks[kind]]
        best = nearest_showing(covers)
        if best is None:
            reasons.append(_why_not(kind, finding, covers))
            continue
        stack, seen = stacks[kind][best], covers[best]
        coverage = "; ".join([*reasons, f"{kind.title}, plane {seen.distance:.1f} mm away"])
        flags = (*((STAND_IN,) if reasons else ()), *missing, *own)
        return Evidence(place, confidence, kind, stack.name, seen.k, stack.axis, seen.distance, coverage, flags)
    flags = (NOT_COVERED, *missing, *own)
    return Evidence(place, confidence, None, None, None, None, None, "; ".join(reasons), flags)


def _why_not(kind: SeriesType, finding: Finding, covers: Sequence[Coverage]) -> str:
    if not covers:
        return f"no {kind.title}"
    nearest = min(covers, key=lambda one: one.distance)
    if nearest.distance > PLANE_LIMIT_MM:
        plane = kind.value.partition("_")[0]
        return f"no {plane} plane within {PLANE_LIMIT_MM:g} mm of {finding.level.title} ({nearest.distance:.1f} mm)"
    return f"{finding.level.title} is outside of the {kind.title} images"


def _open(path: Path, kind: SeriesType) -> _Stack:
    """Its slices are counted along the patient axis that the series type's planes are normal to."""
    image = open_volume(path)
    affine: Array = np.asarray(image.affine, dtype=np.float64)
    world = 2 if kind is SeriesType.AXIAL_T2 else 0
    order = io_orientation(affine)[:, 0]
    axis = int(np.flatnonzero(order == world)[0]) if (order == world).any() else 2
    axes = [n for n in range(3) if n != axis] + [axis]
    turned = affine[:, [*axes, 3]]
    return _Stack(path.name, kind, Grid(turned, tuple(image.shape[n] for n in axes)), axis)
