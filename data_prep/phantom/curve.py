"""The spine's curve: from straightened spine coordinates to patient space and back.

Spine coordinates are ``(r, a, s)`` in mm: right, anterior, and upwards along the curve, with the centre of L3 at the
origin. The anatomy is described there, where discs are flat and the canal is straight; the curve bends it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    tilt, y, z, x, twist, slip
        Tables over ``s`` from ``-REACH`` to ``REACH`` in steps of ``STEP``: forward tilt of the tangent (rad), offsets
        of the centre line from the origin (RAS mm), axial rotation (rad), and how far forward everything at a height
        has slipped (mm).
    """

    origin: Array
    tilt: Array
    y: Array
    z: Array
    x: Array
    twist: Array
    slip: Array

    @classmethod
    def from_tilt(cls, origin: Array, tilt: Array, x: Array, twist: Array, slip: Array | None = None) -> SpineCurve:
        """Integrate the tangent ``(0, sin tilt, cos tilt)`` from L3 both ways."""
        middle = len(tilt) // 2
        y = np.cumsum(np.sin(tilt)) * STEP
        z = np.cumsum(np.cos(tilt)) * STEP
        slip = np.zeros_like(tilt) if slip is None else slip
        return cls(origin, tilt, y - y[middle], z - z[middle], x - x[middle], twist, slip)

    def unslipped(self) -> SpineCurve:
        """The same curve with nothing slipped."""
        return replace(self, slip=np.zeros_like(self.slip))

    @staticmethod
    def heights() -> Array:
        """The table's ``s`` values in mm."""
        return np.arange(-REACH, REACH + STEP / 2, STEP)

    def to_world(self, points: Array) -> Array:
        """Spine coordinates ``(..., 3)`` to RAS mm."""
        r, a, s = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
        tilt, y, z, x, twist, slip = self._at(s)
        a = a + slip
        right = r * np.cos(twist) - a * np.sin(twist)
        forward = r * np.sin(twist) + a * np.cos(twist)
        world = np.stack([x + right, y + forward * np.cos(tilt), z - forward * np.sin(tilt)], axis=-1)
        return world + self.origin

    def frames(self) -> Array:
        """At every height of the table: the centre line's point, and unit vectors right and forward; ``(n, 3, 3)``."""
        cos, sin = np.cos(self.twist), np.sin(self.twist)
        up, level, none = np.sin(self.tilt), np.cos(self.tilt), np.zeros_like(cos)
        right = np.stack([cos, sin * level, -sin * up], axis=-1)
        forward = np.stack([none - sin, cos * level, -cos * up], axis=-1)
        middle = np.stack([self.x, self.y, self.z], axis=-1) + self.origin + self.slip[:, None] * forward
        return np.stack([middle, right, forward], axis=1)

    def to_spine(self, points: Array, near: Array | None = None) -> Array:
        """RAS mm ``(..., 3)`` to spine coordinates: Newton's method for the foot of the perpendicular.

        One step of it will do where ``near`` gives the heights ``s`` to a few tenths of a mm.
        """
        x, y, z = np.moveaxis(np.asarray(points, dtype=np.float64) - self.origin, -1, 0)
        s = np.array(z if near is None else near, dtype=np.float64)
        tables = np.stack([self.tilt, self.y, self.z, np.gradient(self.tilt, STEP)], axis=-1)
        for _ in range(NEWTON_STEPS if near is None else 1):
            tilt, cy, cz, bend = np.moveaxis(_looked_up(tables, s), -1, 0)
            up, level = np.sin(tilt), np.cos(tilt)
            along = (y - cy) * up + (z - cz) * level
            forward = (y - cy) * level - (z - cz) * up
            s = np.clip(s + along / np.clip(1.0 - bend * forward, 0.4, 2.5), -REACH, REACH)
        tilt, cy, cz, cx, twist, slip = self._at(s)
        forward = (y - cy) * np.cos(tilt) - (z - cz) * np.sin(tilt)
        side = x - cx
        r = side * np.cos(twist) + forward * np.sin(twist)
        a = forward * np.cos(twist) - side * np.sin(twist) - slip
        return np.stack([r, a, s], axis=-1)

    def tangent(self, s: float) -> Array:
        """Unit tangent (RAS, upwards) at height ``s``, the scoliotic shift left out."""
        tilt = float(np.interp(s, self.heights(), self.tilt))
        return np.array([0.0, np.sin(tilt), np.cos(tilt)])

    def _at(self, s: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
        """Tilt, y, z, x, twist and slip at heights ``s``, by linear interpolation."""
        tables = np.stack([self.tilt, self.y, self.z, self.x, self.twist, self.slip], axis=-1)
        tilt, y, z, x, twist, slip = np.moveaxis(_looked_up(tables, s), -1, 0)
        return tilt, y, z, x, twist, slip


def _looked_up(tables: Array, s: Array) -> Array:
    """Values at heights ``s`` of tables ``(n, columns)`` over the curve's heights, by linear interpolation."""
    place = np.clip((s + REACH) / STEP, 0, len(tables) - 1.001)
    low = place.astype(np.intp)
    below = tables[low]
    return np.asarray(below + (place - low)[..., None] * (tables[low + 1] - below), dtype=np.float64)
