"""The canal at a disc: its least front-to-back diameter, and its area there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monai_spine.geometry import Array
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.measures.disc_plane import Frame, axis, frames_of
from monai_spine.spine import Level

_ALONG = axis(-4.0, 4.0, 1.0)
"""Distances from the disc along the canal within which the narrowest place is looked for, mm."""
_ACROSS = axis(-16.0, 16.0, 1.0)
"""Distances from the canal's point to the right; a wide canal has 28 mm."""
_HERE = np.zeros(1)
_STEP = 0.25
_DEPTH = axis(-18.0, 18.0, _STEP)
"""Distances from the canal's point to the front; the point may lie 5 mm off the middle."""
_MIDDLE_MM = 3.0
"""Distance from the canal's middle within which the depth of the slices is averaged."""
_SEEN_MM = 1.0
"""Depth from which on a slice shows the canal."""
_FAINT = 0.1
"""Probability below which a place does not belong to the canal at all."""


@dataclass(frozen=True)
class CanalSize:
    """Least diameter from front to back, mm, and area across the canal at the same place, mm².

    The area is None if the slices end within the canal.
    """

    diameter: float
    area: float | None


def canal_size(maps: RegionMaps, frame: Frame, offset: float = 0.0) -> CanalSize | None:
    """The canal's size at a disc; ``frame`` at the canal's point.

    None if no canal is there, if the image ends there, or if the slices end beside the canal's middle: what they show
    of its depth is less than the diameter.

    ``offset`` is added to every depth: what the regions leave out, mm.

    A depth is the integral of the probability: at an edge that the voxels blur it is exact where the largest
    probability above a threshold is too small or too large.
    """
    inside = maps.holds(frame.origin + _ACROSS[:, None] * frame.right)
    if not (inside[np.abs(_ACROSS) <= _MIDDLE_MM].all() and maps.shows(frame.places(_HERE, _HERE, _ALONG))):
        return None
    values = maps.at(("canal",), frame.places(_ACROSS, _DEPTH, _ALONG))  # (across, depth, along)
    depths = np.array([[_depth(values[x, :, s]) for s in range(len(_ALONG))] for x in range(len(_ACROSS))])
    depths = np.where(depths > _SEEN_MM, np.maximum(depths + offset, 0.0), 0.0)
    if not depths.any():
        return None
    middle = float((depths.sum(axis=1) * _ACROSS).sum() / depths.sum())
    near = np.abs(_ACROSS - middle) <= _MIDDLE_MM
    diameters = depths[near].mean(axis=0)
    narrowest = int(diameters.argmin())
    cut = not inside.all() and bool((depths[inside][[0, -1], narrowest] > _SEEN_MM).any())
    area = None if cut else float(depths[:, narrowest].sum() * (_ACROSS[1] - _ACROSS[0]))
    return CanalSize(float(diameters[narrowest]), area)


def _depth(profile: Array) -> float:
    """The integral over the run of places about the largest probability, mm."""
    best = int(profile.argmax())
    if profile[best] < _FAINT:
        return 0.0
    faint = np.flatnonzero(profile < _FAINT)
    before, after = faint[faint < best], faint[faint > best]
    first = before[-1] + 1 if len(before) else 0
    last = after[0] if len(after) else len(profile)
    return float(profile[first:last].sum() * _STEP)


def canal_diameters(maps: RegionMaps, canal: Mapping[Level, Array]) -> dict[Level, float]:
    """The canal's least diameter at each disc where it is seen, mm. ``canal``: its points at the discs, RAS mm.

    None are known of fewer than two points, which do not say where the canal leads.
    """
    frames = frames_of(canal, maps.right) if len(canal) > 1 else {}
    sizes = {level: canal_size(maps, frame) for level, frame in frames.items()}
    return {level: size.diameter for level, size in sizes.items() if size is not None}
