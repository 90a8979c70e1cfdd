"""The axial plane in which the recesses of a level are searched, and the choice between detected and projected points.

From the canal at a disc, a recess is expected to the side, forwards and a little below. The projection of that place
onto the nearest axial plane is the *projected* point. A network's detection in that plane replaces it if it is sure and
plausible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_spine.data.coverage import PLANE_LIMIT_MM, Grid, coverage_of, nearest_showing
from monai_spine.data.volume import Opener, open_volume, slice_geometry
from monai_spine.geometry import Array, slice_normal
from monai_spine.levels.sagittal.chain import Disc, expected_recess
from monai_spine.levels.sagittal.points import Absent, LevelPoint, Structure
from monai_spine.spine import Level, Side

PROJECTED = "projected"
"""Flag of a recess at its projected point: the network did not detect it."""
LEAST_CONFIDENCE = 0.7
"""Least confidence of a detection: 95 % of the recesses in 600 randomised slices had it."""
MOST_OFFSET_MM = 12.0
"""Largest distance of a detection from the projected point: three deviations of the error of a localizer's points."""
LEAST_APART_MM = 8.0
"""Least distance of both recesses of a level along the patient's left-right axis; those of a canal are 17 to 25 mm
apart. Two detections that are closer mark the same structure, or have swapped sides."""


@dataclass(frozen=True)
class Detection:
    """A recess that a network detected: RAS mm, and its confidence from 0 to 1."""

    world: Array
    confidence: float


@dataclass(frozen=True)
class RecessPlane:
    """The axial plane in which the recesses of a disc are searched."""

    disc: Disc
    name: str
    grid: Grid
    k: int
    """``name``, ``grid``, ``k``: the stack's name and position, and the index of its slice."""
    distance: float
    """Millimetres from the plane to the middle between the expected places of both recesses."""
    projected: Mapping[Side, Array]
    """The projection of each expected place onto the plane, RAS mm."""


@dataclass(frozen=True)
class Recesses:
    """The recesses of a study."""

    points: tuple[LevelPoint, ...]
    absent: tuple[Absent, ...]
    planes: Mapping[Level, tuple[str, int, float]]
    """For each level the plane that was searched: the stack's name, the slice, and `RecessPlane.distance`."""


Detector = Callable[[Level, RecessPlane], Mapping[Side, Detection]]
"""A function that detects a level's recesses in a plane; sides without a detection are left out."""


def recesses_of(
    discs: Iterable[tuple[Level, Disc]],
    axial: Mapping[str, Grid],
    detect: Detector,
    level_flags: tuple[str, ...] = (),
) -> Recesses:
    """Both recesses of each disc, on the axial plane nearest to them; absent where no plane is near."""
    points: list[LevelPoint] = []
    absent: list[Absent] = []
    planes = {}
    for level, disc in discs:
        # Axial planes are often angled blocks, one per disc, so the plane is searched for each level.
        plane = recess_plane(disc, axial)
        if plane is None:
            # No point is given then: a finding that no slice shows must not be graded.
            reason = f"no axial plane within {PLANE_LIMIT_MM:g} mm of {level.title}" if axial else "no axial series"
            absent += [Absent(Structure.RECESS, level, side, reason) for side in Side]
            continue
        planes[level] = (plane.name, plane.k, plane.distance)
        points += recess_points(level, plane, detect(level, plane), level_flags)
    return Recesses(tuple(points), tuple(absent), planes)


def axial_grids(paths: Mapping[str, Path], opened: Opener = open_volume) -> dict[str, Grid]:
    """Positions of axial stacks, by the names of their files, which ``opened`` opens."""
    return {name: Grid(*slice_geometry(opened(path))) for name, path in paths.items()}


def recess_plane(disc: Disc, axial: Mapping[str, Grid]) -> RecessPlane | None:
    """The plane nearest to a disc's recesses among axial stacks, or None if none is within `PLANE_LIMIT_MM`.

    It is nearest to the expected recesses, not to the canal: on phantoms with tilted planes the former is the plane on
    which the recess is marked in 82 % of cases, the latter in 59 %.
    """
    middle = (expected_recess(disc, Side.LEFT) + expected_recess(disc, Side.RIGHT)) / 2
    names = list(axial)
    coverages = [coverage_of(axial[name], middle) for name in names]
    best = nearest_showing(coverages)
    if best is None:
        return None
    grid, k = axial[names[best]], coverages[best].k
    projected = {side: on_plane(expected_recess(disc, side), grid.affine, k) for side in Side}
    return RecessPlane(disc, names[best], grid, k, coverages[best].distance, projected)


def on_plane(point: Array, affine: Array, k: int = 0) -> Array:
    """The projection of a point (RAS mm) along the normal onto the plane of slice ``k``."""
    normal = slice_normal(affine)
    middle = affine[:3, 3] + k * affine[:3, 2]
    return np.asarray(point - (point - middle) @ normal * normal, dtype=np.float64)


def plausible(detections: Mapping[Side, Detection], plane: RecessPlane) -> dict[Side, Detection]:
    """The detections that may be the recesses of a plane's disc.

    One is left out if its confidence is below `LEAST_CONFIDENCE`, or if it is farther than `MOST_OFFSET_MM` from its
    projected point; both are left out if the right one is not to the right of the left one by `LEAST_APART_MM`.
    """
    kept = {
        side: one
        for side, one in detections.items()
        if one.confidence >= LEAST_CONFIDENCE and np.linalg.norm(one.world - plane.projected[side]) <= MOST_OFFSET_MM
    }
    if len(kept) == len(Side):
        # Along the line between the projected points, since the patient may lie turned in the scanner.
        across = plane.projected[Side.RIGHT] - plane.projected[Side.LEFT]
        apart = (kept[Side.RIGHT].world - kept[Side.LEFT].world) @ across / np.linalg.norm(across)
        if apart < LEAST_APART_MM:
            return {}
    return kept


def recess_points(
    level: Level, plane: RecessPlane, detections: Mapping[Side, Detection], level_flags: tuple[str, ...] = ()
) -> list[LevelPoint]:
    """Both recesses of a level: detected where that is `plausible`, else projected and flagged `PROJECTED`.

    A projected point has half the confidence of the disc that it comes from.
    """
    kept = plausible(detections, plane)
    points = []
    # Each side by itself: one recess may be outside the image, or hidden by disease.
    for side in Side:
        if side in kept:
            one = kept[side]
            world = on_plane(one.world, plane.grid.affine, plane.k)
            points.append(LevelPoint(Structure.RECESS, level, side, world, one.confidence, level_flags))
        else:
            flags = (*level_flags, PROJECTED)
            # The place follows from the disc, but individual anatomy is unknown.
            confidence = plane.disc.confidence / 2
            points.append(LevelPoint(Structure.RECESS, level, side, plane.projected[side], confidence, flags))
    return points
