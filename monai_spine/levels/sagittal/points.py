"""From a network's maps to named points: canal and foramina at the graded levels, and what is out of view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch

from monai_spine.geometry import Array, contains
from monai_spine.levels.sagittal.chain import Chain, Disc, Flag, expected_foramen, levels, link, nearest_foramen
from monai_spine.levels.sagittal.landmark_maps import LANDMARKS, map_affine
from monai_spine.levels.sagittal.peaks import Peak, find_peaks
from monai_spine.levels.sagittal.sacrum import Sacrum
from monai_spine.spine import Level, Side

_THRESHOLD = {"canal": 0.2, "foramen": 0.15, "lumbosacral": 0.15}
_APART = {"canal": 14.0, "foramen": 12.0, "lumbosacral": 14.0}
"""Millimetres between two of a kind."""


OUT_OF_VIEW = "out of view"


class PointKind(str, Enum):
    """What a point marks."""

    CANAL = "canal"
    FORAMEN = "foramen"
    RECESS = "recess"


@dataclass(frozen=True)
class LevelPoint:
    """A named point in RAS mm, or None for one that cannot be given, with its confidence from 0 to 1 and its flags."""

    kind: PointKind
    level: Level
    side: Side | None
    world: Array
    confidence: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Absent:
    """A point that is not given, and why."""

    kind: PointKind
    level: Level
    side: Side | None
    reason: str


@dataclass(frozen=True)
class SpinePoints:
    """What was found in a volume; ``chain`` is None where there is no lumbar spine."""

    chain: Chain | None
    points: tuple[LevelPoint, ...]
    absent: tuple[Absent, ...]


def points_of(volume: Mapping[str, Any]) -> SpinePoints:
    """Named points of what an engine leaves of a volume: ``image``, its ``affine``, and ``pred``, maps from 0 to 1."""
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
        From voxels of the maps to RAS mm.
    shape, grid
        Voxels of the image, and their affine: what is in view.
    """
    peaks = {
        name: find_peaks(values, affine, threshold=_THRESHOLD[name], apart=_APART[name])
        for name, values in zip(LANDMARKS, maps[: len(LANDMARKS)], strict=True)
    }
    sacrum = Sacrum(maps[len(LANDMARKS) :], affine, peaks["lumbosacral"])
    chain = link(peaks["canal"], sacrum.below)
    if chain is None:
        return SpinePoints(None, (), ())
    named = levels(chain)
    doubt = () if chain.certain else (Flag.UNCERTAIN_LEVEL.value,)
    points: list[LevelPoint] = []
    absent: list[Absent] = []
    for level, disc in named:
        flags = (*doubt, *(flag.value for flag in disc.flags))
        points.append(LevelPoint(PointKind.CANAL, level, None, disc.canal, disc.confidence, flags))
        for side in Side:
            foramen = _foramen(peaks["foramen"], level, disc, side, doubt)
            if contains(grid, tuple(shape), foramen.world):
                points.append(foramen)
            else:
                absent.append(Absent(PointKind.FORAMEN, level, side, OUT_OF_VIEW))
    seen = {level for level, _ in named}
    absent += [Absent(PointKind.CANAL, level, None, OUT_OF_VIEW) for level in Level if level not in seen]
    return SpinePoints(chain, tuple(points), tuple(absent))


def _foramen(peaks: Sequence[Peak], level: Level, disc: Disc, side: Side, doubt: tuple[str, ...]) -> LevelPoint:
    """The peak that belongs to it, or the place where it should be."""
    peak = nearest_foramen(peaks, disc, side)
    if peak is None:
        flags = (*doubt, Flag.INTERPOLATED.value)
        return LevelPoint(PointKind.FORAMEN, level, side, expected_foramen(disc, side), 0.0, flags)
    flags = (*doubt, *([Flag.FAINT.value] if peak.height < 0.5 else []))
    return LevelPoint(PointKind.FORAMEN, level, side, peak.world, peak.height, flags)
