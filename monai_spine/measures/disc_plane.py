"""The sagittal plane beside one disc, straightened along the canal.

A patch has its own frame in mm: the canal's point at the disc is the origin, the first axis leads to the front, the
second upwards along the canal, both in the plane of the slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monai_spine.geometry import Array
from monai_spine.levels.sagittal.peak_chain import directions
from monai_spine.spine import Level


@dataclass(frozen=True)
class Frame:
    """A frame in the sagittal plane.

    ``origin``: RAS mm. ``front``, ``up``, ``right``: orthogonal unit vectors in RAS.
    """

    origin: Array
    front: Array
    up: Array
    right: Array

    @classmethod
    def along(cls, origin: Array, upwards: Array, right: Array) -> Frame:
        """The frame at ``origin`` whose second axis is the direction ``upwards``, turned into the slices' plane."""
        up = upwards - right * (upwards @ right)
        up = up / np.linalg.norm(up)
        return cls(origin, np.cross(up, right), up, right)

    def turned(self, degrees: float, origin: tuple[float, float]) -> Frame:
        """The frame at a place of this one, turned in the plane; its front is raised by ``degrees``."""
        angle = np.radians(degrees)
        front = np.cos(angle) * self.front + np.sin(angle) * self.up
        up = np.cos(angle) * self.up - np.sin(angle) * self.front
        return Frame(self.origin + origin[0] * self.front + origin[1] * self.up, front, up, self.right)

    def places(self, beside: Array, front: Array, up: Array) -> Array:
        """RAS places ``(beside, front, up, 3)`` of a grid in the frame, mm."""
        grid = np.meshgrid(beside, front, up, indexing="ij")
        return np.asarray(
            self.origin
            + grid[0][..., None] * self.right
            + grid[1][..., None] * self.front
            + grid[2][..., None] * self.up
        )


def frames_of(canal: Mapping[Level, Array], right: Array) -> dict[Level, Frame]:
    """The frame at each disc along the canal. ``canal``: its points, RAS mm, two or more. ``right``: unit vector."""
    levels = [level for level in Level if level in canal]
    places = [canal[level] for level in levels]
    return {
        level: Frame.along(place, upwards, right)
        for level, place, upwards in zip(levels, places, directions(places), strict=True)
    }


def axis(low: float, high: float, step: float) -> Array:
    """Places from ``low`` to ``high``, both included."""
    return np.linspace(low, high, round((high - low) / step) + 1)
