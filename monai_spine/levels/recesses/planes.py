"""Where the lateral recesses of a level should be, and whether what a network saw may be one.

Seen from the canal at its disc a recess lies to the side, forwards and a little below; its foot on the nearest axial
plane is the *projected* point. What a network sees in that plane takes its place where it is sure and plausible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from monai_spine.data.coverage import Grid, cover, serving
from monai_spine.geometry import Array, slice_normal
from monai_spine.levels.sagittal.chain import Disc, expected_recess
from monai_spine.levels.sagittal.points import LevelPoint, PointKind
from monai_spine.spine import Level, Side

PROJECTED = "projected"
"""Flag of a recess that was put where it should be on the axial plane nearest to it, not seen."""
SURE = 0.7
"""The least confidence with which a recess counts as seen: 95 % of the recesses in 600 randomised slices had it."""
REACH = 12.0
"""Millimetres from the projected point within which a recess may be seen."""
LEAST_APART = 8.0
"""Millimetres that the right recess of a level lies farther to the right than the left one, at least."""


@dataclass(frozen=True)
class Seen:
    """A recess as a network sees it: RAS mm, and its confidence from 0 to 1."""

    world: Array
    confidence: float


@dataclass(frozen=True)
class RecessPlane:
    """The axial plane in which the recesses of a disc are to be looked for.

    Attributes
    ----------
    name, k
        Of the stack, and which of its slices.
    distance
        Millimetres from the plane to the middle between the places where the recesses should be.
    projected
        The foot of either place on the plane, RAS mm.
    """

    disc: Disc
    name: str
    grid: Grid
    k: int
    distance: float
    projected: Mapping[Side, Array]


Look = Callable[[RecessPlane], Mapping[Side, Seen]]
"""Whoever looks for the recesses in a plane; sides that were not seen are left out."""


def recess_plane(disc: Disc, axial: Mapping[str, Grid]) -> RecessPlane | None:
    """The plane nearest to a disc's recesses among axial stacks, or None if none is within `PLANE_LIMIT_MM`."""
    middle = (expected_recess(disc, Side.LEFT) + expected_recess(disc, Side.RIGHT)) / 2
    names = list(axial)
    covers = [cover(axial[name], middle) for name in names]
    best = serving(covers)
    if best is None:
        return None
    grid, k = axial[names[best]], covers[best].k
    projected = {side: on_plane(expected_recess(disc, side), grid.affine, k) for side in Side}
    return RecessPlane(disc, names[best], grid, k, covers[best].distance, projected)


def on_plane(point: Array, affine: Array, k: int = 0) -> Array:
    """The foot of a point (RAS mm) on the plane of slice ``k``."""
    normal = slice_normal(affine)
    middle = affine[:3, 3] + k * affine[:3, 2]
    return np.asarray(point - (point - middle) @ normal * normal, dtype=np.float64)


def plausible(seen: Mapping[Side, Seen], plane: RecessPlane) -> dict[Side, Seen]:
    """Those of what was seen that may be the recesses of a plane's disc.

    Either is left out if it is not `SURE` or farther than `REACH` from its projected point; both are if the right one
    does not lie to the right of the left one by `LEAST_APART`.
    """
    kept = {
        side: one
        for side, one in seen.items()
        if one.confidence >= SURE and np.linalg.norm(one.world - plane.projected[side]) <= REACH
    }
    if len(kept) == len(Side):
        across = plane.projected[Side.RIGHT] - plane.projected[Side.LEFT]
        apart = (kept[Side.RIGHT].world - kept[Side.LEFT].world) @ across / np.linalg.norm(across)
        if apart < LEAST_APART:
            return {}
    return kept


def recess_points(
    level: Level, plane: RecessPlane, seen: Mapping[Side, Seen], doubt: tuple[str, ...] = ()
) -> list[LevelPoint]:
    """Both recesses of a level: as seen where that is `plausible`, else projected and flagged so.

    ``doubt`` are flags of the level. A projected point is half as sure as the disc that it comes from.
    """
    kept = plausible(seen, plane)
    points = []
    for side in Side:
        if side in kept:
            one = kept[side]
            world = on_plane(one.world, plane.grid.affine, plane.k)
            points.append(LevelPoint(PointKind.RECESS, level, side, world, one.confidence, doubt))
        else:
            flags = (*doubt, PROJECTED)
            confidence = plane.disc.confidence / 2
            points.append(LevelPoint(PointKind.RECESS, level, side, plane.projected[side], confidence, flags))
    return points
