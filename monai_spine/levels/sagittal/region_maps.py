"""The regions of a spine as probabilities in patient space, to be read at any place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
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

    def holds(self, places: Array) -> npt.NDArray[np.bool_]:
        """Which RAS places ``(n, 3)`` lie between the outer faces of the slices."""
        slices = to_voxel(self.affine, places)[:, 0]
        return np.asarray(np.abs(slices - (self.values.shape[1] - 1) / 2) <= self.values.shape[1] / 2)

    def at(self, names: tuple[str, ...], places: Array) -> Array:
        """The probability of one of some regions at RAS places ``(…, 3)``; 0 outside of the volume."""
        voxels = np.moveaxis(to_voxel(self.affine, places.reshape(-1, 3)), 1, 0)
        values = sum(self.values[REGIONS.index(name)] for name in names)
        # A slice counts to its edges: half a gap beyond the outermost centres.
        edge = np.clip(voxels[0], 0, values.shape[0] - 1)
        voxels[0] = np.where(np.abs(voxels[0] - edge) <= 0.5, edge, voxels[0])
        return np.asarray(map_coordinates(values, voxels, order=1, mode="constant")).reshape(places.shape[:-1])
