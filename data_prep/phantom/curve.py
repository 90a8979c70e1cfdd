"""The spine's curve: from straightened spine coordinates to patient space and back.

Spine coordinates are ``(r, a, s)`` in mm: right, anterior, and upwards along the curve, with the centre of L3 at the
origin. The anatomy is described there, where discs are flat and the canal is straight; the curve bends it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_spine.geometry import Array

STEP = 1.0
REACH = 260.0
NEWTON_STEPS = 4


@dataclass(frozen=True)
class SpineCurve:
    """A lordotic, slightly scoliotic and rotated centre line through the vertebral bodies.

    Attributes
    ----------
    origin
        RAS mm of the centre of L3, shape ``(3,)``.
    tilt, y, z, x, twist
        Tables over ``s`` from ``-REACH`` to ``REACH`` in steps of ``STEP``: forward tilt of the tangent (rad), offsets
        of the centre line from the origin (RAS mm) and axial rotation (rad).
    """

    origin: Array
    tilt: Array
    y: Array
    z: Array
    x: Array
    twist: Array

    @classmethod
    def from_tilt(cls, origin: Array, tilt: Array, x: Array, twist: Array) -> SpineCurve:
        """Integrate the tangent ``(0, sin tilt, cos tilt)`` from L3 both ways."""
        middle = len(tilt) // 2
        y = np.cumsum(np.sin(tilt)) * STEP
        z = np.cumsum(np.cos(tilt)) * STEP
        return cls(origin, tilt, y - y[middle], z - z[middle], x - x[middle], twist)

    @staticmethod
    def heights() -> Array:
        """The table's ``s`` values in mm."""
        return np.arange(-REACH, REACH + STEP / 2, STEP)

    def to_world(self, points: Array) -> Array:
        """Spine coordinates ``(..., 3)`` to RAS mm."""
        r, a, s = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
        tilt, y, z, x, twist = self._at(s)
        right = r * np.cos(twist) - a * np.sin(twist)
        forward = r * np.sin(twist) + a * np.cos(twist)
        world = np.stack([x + right, y + forward * np.cos(tilt), z - forward * np.sin(tilt)], axis=-1)
        return world + self.origin

    def frames(self) -> Array:
        """At every height of the table: the centre line's point, and unit vectors right and forward; ``(n, 3, 3)``."""
        cos, sin = np.cos(self.twist), np.sin(self.twist)
        up, level, none = np.sin(self.tilt), np.cos(self.tilt), np.zeros_like(cos)
        middle = np.stack([self.x, self.y, self.z], axis=-1) + self.origin
        right = np.stack([cos, sin * level, -sin * up], axis=-1)
        forward = np.stack([none - sin, cos * level, -cos * up], axis=-1)
        return np.stack([middle, right, forward], axis=1)

    def to_spine(self, points: Array) -> Array:
        """RAS mm ``(..., 3)`` to spine coordinates: Newton's method for the foot of the perpendicular."""
        x, y, z = np.moveaxis(np.asarray(points, dtype=np.float64) - self.origin, -1, 0)
        s = np.array(z)
        for _ in range(NEWTON_STEPS):
            tilt, cy, cz, _, _ = self._at(s)
            along = (y - cy) * np.sin(tilt) + (z - cz) * np.cos(tilt)
            forward = (y - cy) * np.cos(tilt) - (z - cz) * np.sin(tilt)
            bend = np.interp(s, self.heights(), np.gradient(self.tilt, STEP))
            s = np.clip(s + along / np.clip(1.0 - bend * forward, 0.4, 2.5), -REACH, REACH)
        tilt, cy, cz, cx, twist = self._at(s)
        forward = (y - cy) * np.cos(tilt) - (z - cz) * np.sin(tilt)
        side = x - cx
        r = side * np.cos(twist) + forward * np.sin(twist)
        a = forward * np.cos(twist) - side * np.sin(twist)
        return np.stack([r, a, s], axis=-1)

    def tangent(self, s: float) -> Array:
        """Unit tangent (RAS, upwards) at height ``s``, the scoliotic shift left out."""
        tilt = float(np.interp(s, self.heights(), self.tilt))
        return np.array([0.0, np.sin(tilt), np.cos(tilt)])

    def _at(self, s: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Tilt, y, z, x and twist at heights ``s``, by linear interpolation."""
        place = np.clip((s + REACH) / STEP, 0, len(self.tilt) - 1.001)
        low = place.astype(np.intp)
        part = place - low
        tables = (self.tilt, self.y, self.z, self.x, self.twist)
        tilt, y, z, x, twist = (table[low] + part * (table[low + 1] - table[low]) for table in tables)
        return tilt, y, z, x, twist
