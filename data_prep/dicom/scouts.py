"""Scouts: a few slices in planes that cross, made to plan a scan by, not to be stacked."""

from __future__ import annotations

import numpy as np

from data_prep.dicom.frames import Frame
from data_prep.dicom.regularity import MIN_SLICES

SCOUT_DEGREES = 75.0
"""Planes of a scout stand at least this far apart, usually 90°, and no other slices lie between them."""

BETWEEN_DEGREES = 60.0
"""Slices less than this from two planes lie between them: stacks angled to the discs fan out from one to the next."""

OUTNUMBERED = 5
"""A stack with so many times the images of all groups that cross it is a scan, and they are its reference images."""


def find(groups: list[list[Frame]]) -> tuple[list[list[Frame]], str]:
    """The groups of one series, each of one orientation, that are a scout, and what makes them one.

    They are all groups where planes cross with nothing between them; or, where a stack outnumbers what crosses it and
    that is too little for a stack of its own, the crossing groups alone.
    """
    normals = np.array([group[0].geometry.normal for group in groups if group[0].geometry is not None]).reshape(-1, 3)
    degrees = np.degrees(np.arccos(np.clip(np.abs(normals @ normals.T), 0.0, 1.0)))
    near = (degrees < BETWEEN_DEGREES).astype(np.float64)
    crossing = (degrees >= SCOUT_DEGREES) & (near @ near == 0)
    if not crossing.any():
        return [], ""
    planes = len(np.unique(np.round(normals, 3), axis=0))
    detail = f"slices in {planes} planes, up to {degrees[crossing].max():.0f} degrees apart"
    largest = int(np.argmax([len(group) for group in groups]))
    across = [group for group, crosses in zip(groups, crossing[largest], strict=True) if crosses]
    few = all(len(group) < MIN_SLICES for group in across)
    if across and few and len(groups[largest]) >= OUTNUMBERED * sum(map(len, across)):
        return across, detail
    return groups, detail
