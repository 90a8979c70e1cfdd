"""A spine of boxes whose measures are known, as probabilities of regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_spine.geometry import Array, to_world
from monai_spine.levels.sagittal.maps import REGIONS
from monai_spine.levels.sagittal.region_maps import RegionMaps
from monai_spine.spine import Level

PITCH = 36.0
"""Millimetres from disc to disc."""


@dataclass(frozen=True)
class BoxSpine:
    """Five discs below each other, turned as a whole. Lengths in mm, angles in degrees.

    ``narrow``: depth of the canal at the discs; ``wide``: between them. ``wedge``: angle between the end plates of each
    disc.
    """

    narrow: float = 12.0
    wide: float = 16.0
    width: float = 20.0
    height: float = 10.0
    wedge: float = 0.0
    turn: float = 0.0
    tilt: float = 0.0

    @property
    def axes(self) -> Array:
        """Columns: right, front, up, in RAS; turned about the vertical axis, then in the sagittal plane."""
        turn, tilt = np.radians([self.turn, self.tilt])
        about = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        plane = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
        return np.asarray(about @ plane)

    @property
    def canal(self) -> dict[Level, Array]:
        """The canal's middle at each disc, RAS mm; not quite the middle, as a network finds it."""
        off = np.array([1.5, -2.0, 1.0])
        return {level: self.axes @ (off - np.array([0, 0, PITCH * n])) for n, level in enumerate(Level)}

    def maps(self, step: float = 0.8, gap: float = 3.0) -> RegionMaps:
        """Probabilities on a grid along the volume's own axes, which the tilt does not turn."""
        about = BoxSpine(turn=self.turn).axes
        size = np.array([13, 160, 340])
        affine = np.eye(4)
        affine[:3, :3] = about * [gap, step, step]
        affine[:3, 3] = (
            about @ [0.0, 15.0, 0.0] + self.axes @ [0.0, 0.0, -2 * PITCH] - affine[:3, :3] @ ((size - 1) / 2)
        )
        voxels = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
        x, y, z = np.moveaxis(to_world(affine, voxels.reshape(-1, 3)) @ self.axes, 1, 0)
        n = np.clip(np.round(-z / PITCH), 0, 4)
        z = z + PITCH * n  # height above the nearest disc
        # The front of the disc lies at 47 mm, its back at 9 mm.
        half = self.height / 2 + np.tan(np.radians(self.wedge / 2)) * (y - 28.0)
        depth = np.where(np.abs(z) < 10, self.narrow, self.wide) / 2
        above = z > 0
        inside = soft((y - 9.0) / step) * soft((47.0 - y) / step) * soft((18.0 - np.abs(x)) / gap)
        bone = soft((y - 9.0) / step) * soft((47.0 - y) / step) * soft((18.0 - np.abs(x)) / gap)
        values = {
            "canal": soft((depth - np.abs(y)) / step) * soft((self.width / 2 - np.abs(x)) / gap),
            "disc": inside * soft((half - np.abs(z)) / step),
            "body": bone * soft((np.abs(z) - half) / step) * (above | (n < 4)),
            "sacrum": bone * soft((np.abs(z) - half) / step) * ~(above | (n < 4)),
        }
        values["background"] = np.clip(1 - sum(values.values()), 0, 1)
        return RegionMaps(np.array([values[name].reshape(size) for name in REGIONS]), affine)


def soft(distance: Array) -> Array:
    """The share of a voxel inside of an edge, from its distance in voxels."""
    return np.clip(distance + 0.5, 0.0, 1.0)
