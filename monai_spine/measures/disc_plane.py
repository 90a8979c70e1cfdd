"""The sagittal plane beside one disc, straightened along the canal: the regions' probabilities on a fine grid.

A patch has its own frame in mm: the canal's point at the disc is the origin, the first axis leads to the front, the
second upwards along the canal, both in the plane of the slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import map_coordinates

from monai_spine.geometry import Array, to_voxel
from monai_spine.levels.sagittal.maps import REGIONS


@dataclass(frozen=True)
class RegionMaps:
    """Probabilities of `REGIONS`, ``(len(REGIONS), x, y, z)``, and the affine ``(4, 4)`` from voxels to RAS mm.

    Slices go from the patient's left to the right, columns from back to front, rows upwards.
    """

    values: Array
    affine: Array

    @cached_property
    def right(self) -> Array:
        """Unit vector across the slices."""
        return np.asarray(self.affine[:3, 0] / np.linalg.norm(self.affine[:3, 0]))

    def shows(self, places: Array) -> bool:
        """Whether all RAS places ``(…, 3)`` lie in the plane of the slices that the volume shows."""
        inside = to_voxel(self.affine, places.reshape(-1, 3))[:, 1:]
        return bool(((inside >= 0) & (inside <= np.array(self.values.shape[2:]) - 1)).all())

    def at(self, names: tuple[str, ...], places: Array) -> Array:
        """The probability of one of some regions at RAS places ``(…, 3)``; 0 outside of the volume."""
        voxels = np.moveaxis(to_voxel(self.affine, places.reshape(-1, 3)), 1, 0)
        values = sum(self.values[REGIONS.index(name)] for name in names)
        # A slice counts to its edges: half a gap beyond the outermost centres.
        edge = np.clip(voxels[0], 0, values.shape[0] - 1)
        voxels[0] = np.where(np.abs(voxels[0] - edge) <= 0.5, edge, voxels[0])
        return np.asarray(map_coordinates(values, voxels, order=1, mode="constant")).reshape(places.shape[:-1])


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


def axis(low: float, high: float, step: float) -> Array:
    """Places from ``low`` to ``high``, both included."""
    return np.linspace(low, high, round((high - low) / step) + 1)
