"""Named points from the maps of the level network: canal and foramina at the graded levels, and what is out of view.

The last step of the level localizer for one volume: it calls `peaks`, `sacrum` and `chain`, and names what they find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch

from monai_spine.geometry import Array, contains
from monai_spine.levels.sagittal.chain import (
    FAINT_HEIGHT,
    Chain,
    Disc,
    Flag,
    expected_foramen,
    levels,
    link,
    nearest_foramen,
)
from monai_spine.levels.sagittal.landmark_maps import LANDMARKS, map_affine
from monai_spine.levels.sagittal.peaks import Peak, find_peaks
from monai_spine.levels.sagittal.sacrum import Sacrum
from monai_spine.spine import Level, Side

_LEAST_HEIGHT = {"canal": 0.2, "foramen": 0.15, "lumbosacral": 0.15}
"""Least heights of peaks. They are low, since the chain drops false peaks, but cannot bring back missing ones."""
_LEAST_APART_MM = {"canal": 14.0, "foramen": 12.0, "lumbosacral": 14.0}
"""Least distances of two peaks of one type. Known limit: collapsed discs may be 10 to 17 mm apart."""

OUT_OF_VIEW = "out of view"


class PointKind(str, Enum):
    """The structure that a point marks."""

    CANAL = "canal"
    FORAMEN = "foramen"
    RECESS = "recess"


@dataclass(frozen=True)
class LevelPoint:
    """A named point in RAS mm, with its confidence from 0 to 1 and its flags."""

    kind: PointKind
    level: Level
    side: Side | None
    world: Array
    confidence: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Absent:
    """A point that is missing, and the reason."""

    kind: PointKind
    level: Level
    side: Side | None
    reason: str


Key = tuple[PointKind, Level, Side | None]
"""What identifies a point in a study."""


@dataclass(frozen=True)
class SpinePoints:
    """The points of one volume; ``chain`` is None if it shows no lumbar spine."""

    chain: Chain | None
    points: tuple[LevelPoint, ...]
    absent: tuple[Absent, ...]


def points_of(volume: Mapping[str, Any]) -> SpinePoints:
    """Named points of a volume from an engine, with ``image``, its ``affine``, and ``pred``, maps from 0 to 1."""
    affine = np.asarray(torch.as_tensor(volume["affine"]).cpu(), dtype=np.float64)
    maps = torch.as_tensor(volume["pred"]).float().cpu().numpy().astype(np.float64)
    return read_maps(maps, map_affine(affine), tuple(volume["image"].shape[1:]), affine)


def read_maps(maps: Array, affine: Array, shape: Sequence[int], grid: Array) -> SpinePoints:
    """Named points from maps.

    Parameters
    ----------
    maps
        ``(len(LANDMARKS) + len(REGIONS), x, y, z)``, from 0 to 1, as `landmark_maps.probabilities` gives them.
    affine
        ``(4, 4)`` from voxels of the maps to RAS mm.
    shape, grid
        Shape and affine of the image, which decide what is in view.
    """
    peaks = {
        name: find_peaks(values, affine, threshold=_LEAST_HEIGHT[name], apart=_LEAST_APART_MM[name])
        for name, values in zip(LANDMARKS, maps[: len(LANDMARKS)], strict=True)
    }
    # The maps of the regions come after those of the landmarks.
    sacrum = Sacrum(maps[len(LANDMARKS) :], affine, peaks["lumbosacral"])
    chain = link(peaks["canal"], sacrum.below)
    if chain is None:
        return SpinePoints(None, (), ())
    named = levels(chain)
    level_flags = () if chain.certain else (Flag.UNCERTAIN_LEVEL.value,)
    points: list[LevelPoint] = []
    absent: list[Absent] = []
    for level, disc in named:
        flags = (*level_flags, *(flag.value for flag in disc.flags))
        points.append(LevelPoint(PointKind.CANAL, level, None, disc.canal, disc.confidence, flags))
        for side in Side:
            foramen = _foramen(peaks["foramen"], level, disc, side, level_flags)
            # The expected place of a foramen may lie beside the outermost slice.
            if contains(grid, tuple(shape), foramen.world):
                points.append(foramen)
            else:
                absent.append(Absent(PointKind.FORAMEN, level, side, OUT_OF_VIEW))
    in_view = {level for level, _ in named}
    absent += [Absent(PointKind.CANAL, level, None, OUT_OF_VIEW) for level in Level if level not in in_view]
    return SpinePoints(chain, tuple(points), tuple(absent))


def _foramen(peaks: Sequence[Peak], level: Level, disc: Disc, side: Side, level_flags: tuple[str, ...]) -> LevelPoint:
    """A foramen at its peak, or else at its expected place with confidence 0."""
    peak = nearest_foramen(peaks, disc, side)
    if peak is None:
        flags = (*level_flags, Flag.INTERPOLATED.value)
        return LevelPoint(PointKind.FORAMEN, level, side, expected_foramen(disc, side), 0.0, flags)
    flags = (*level_flags, *([Flag.FAINT.value] if peak.height < FAINT_HEIGHT else []))
    return LevelPoint(PointKind.FORAMEN, level, side, peak.world, peak.height, flags)
