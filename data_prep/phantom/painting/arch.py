"""Painting the posterior elements of the vertebrae and the ligaments between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.anatomy.curve import Field
from data_prep.phantom.anatomy.person import Anatomy, Vertebra
from data_prep.phantom.painting.canvas import OUTSIDE, SIDES, Canvas, Patch, Tissue, cubed, squared

SPINOUS = 29.0
"""Length of a lumbar spinous process in mm."""
ROOF = 27.0
"""Distance of its base from the posterior wall of the body, in mm."""


@dataclass(frozen=True)
class Ellipsoid:
    """A bone of the right side; the bone of the left side is its mirror image.

    All lengths in mm. ``lean`` turns it in the axial plane (rad), so that its front points away from the midline.
    """

    r: float
    a: float
    s: float
    half_width: float
    half_depth: float
    half_height: float
    lean: float

    def patch(self, canvas: Canvas, sign: float) -> Patch | None:
        """The samples around it on the right (sign 1) or left (-1)."""
        across = abs(self.half_width * np.cos(self.lean)) + abs(self.half_depth * np.sin(self.lean))
        deep = abs(self.half_depth * np.cos(self.lean)) + abs(self.half_width * np.sin(self.lean))
        inner, outer = sorted((sign * (self.r - across), sign * (self.r + across)))
        heights = (self.s - self.half_height, self.s + self.half_height)
        return canvas.box((inner, outer), (self.a - deep, self.a + deep), heights)

    def squared_radius(self, patch: Patch) -> Field:
        """Squared distance from the middle in radii: 1 on the surface."""
        side, front = patch.side - self.r, patch.a - self.a
        cos, sin = float(np.cos(self.lean)), float(np.sin(self.lean))
        side, front = side * cos - front * sin, side * sin + front * cos
        total = squared(side, self.half_width) + squared(front, self.half_depth)
        total += squared(patch.s - self.s, self.half_height)
        return total

    def paint(self, canvas: Canvas, tissue: Tissue | None = None) -> None:
        """Both sides: of one tissue, or else as bone with a cortical shell."""
        for sign in SIDES:
            patch = self.patch(canvas, sign)
            if patch is None:
                continue
            if tissue is None:
                patch.paint_bone(self.squared_radius(patch), min(self.half_width, self.half_depth))
            else:
                patch.paint(self.squared_radius(patch) <= 1.0, tissue)


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """Ligaments of the midline, then the arch of every vertebra."""
    for vertebra in anatomy.vertebrae:
        if not vertebra.sacral:
            _midline_ligaments(canvas, vertebra)
    for vertebra in anatomy.vertebrae:
        _arch(canvas, vertebra)


def _midline_ligaments(canvas: Canvas, body: Vertebra) -> None:
    """The interspinous ligament, and the supraspinous ligament over the tips of the spinous processes."""
    wall = -body.depth / 2
    low, high = body.s - 0.5 * body.height - 18.0, body.s + 0.5 * body.height
    tip = wall - ROOF - SPINOUS
    patch = canvas.box((-3.0, 3.0), (tip - 3.0, wall - 22.0), (low, high))
    if patch is None:
        return
    here = (patch.s >= np.float32(low)) & (patch.s < np.float32(high))
    patch.paint(here & (patch.side < 2.2) & (patch.a > tip + 1.0), Tissue.INTERSPINOUS)
    patch.paint(here & (patch.side < 3.0) & (np.abs(patch.a - np.float32(tip)) < 1.3), Tissue.LIGAMENT)


def _arch(canvas: Canvas, body: Vertebra) -> None:
    """Transverse and articular processes, the lamina, the spinous process and the pedicles."""
    wall = -body.depth / 2
    if not body.sacral:
        Ellipsoid(34.0, wall - 13.0, body.pedicle - 1.0, 15.0, 3.6, 4.5, -0.25).paint(canvas)
        _facets(canvas, body, wall)
    _lamina(canvas, body, wall)
    _spinous(canvas, body, wall)
    for sign in SIDES:
        _pedicle(canvas, body, wall, sign)


def _facets(canvas: Canvas, body: Vertebra, wall: float) -> None:
    """Superior processes reach up to the disc above, inferior ones down to the disc below; cartilage between."""
    upper, lower = body.s + 0.5 * body.height - 2.0, body.s - 0.5 * body.height - 4.0
    Ellipsoid(18.8, wall - 14.0, upper, 4.6, 6.8, 12.0, 0.6).paint(canvas)
    Ellipsoid(14.8, wall - 19.4, lower - 1.0, 6.2, 7.8, 9.5, 0.6).paint(canvas, Tissue.CARTILAGE)
    Ellipsoid(14.0, wall - 20.0, lower, 5.3, 7.2, 11.5, 0.6).paint(canvas)


def _pedicle(canvas: Canvas, body: Vertebra, wall: float, sign: float) -> None:
    """A short bridge from the body to the processes."""
    inner, outer = sorted((sign * 11.5, sign * 21.5))
    s = body.pedicle
    patch = canvas.box((inner, outer), (wall - 14, wall + 4), (s - 7.5, s + 7.5))
    if patch is None:
        return
    across = squared(patch.side - 16.5, 4.6) + squared(patch.s - s, 7.4)
    patch.paint_bone(np.where((patch.a < wall + 4) & (patch.a > wall - 14), across, OUTSIDE), 4.6)


def _lamina(canvas: Canvas, body: Vertebra, wall: float) -> None:
    """A roof over the canal, highest at the midline, its lower end farther back."""
    half = 0.62 * body.height if body.sacral else 10.5
    middle = body.s - (3.0 if body.sacral else 5.0)
    patch = canvas.box((-15, 15), (wall - 33, wall - 13), (middle - half, middle + half))
    if patch is None:
        return
    lean = 0.0 if body.sacral else 0.12
    along: Field = patch.s - np.float32(middle)
    behind: Field = patch.a - np.float32(0.5) * patch.side - np.float32(wall - 26.5) - np.float32(lean) * along
    roof = squared(behind, 3.4) + squared(squared(along, half), 1.0)
    patch.paint_bone(np.where(patch.side < 15.0, roof, OUTSIDE), 3.4)


def _spinous(canvas: Canvas, body: Vertebra, wall: float) -> None:
    """A plate in the midline that runs back and slightly down and is thicker at its tip."""
    length, half = (13.0, 8.0) if body.sacral else (SPINOUS, 11.0)
    middle = body.s - 8.0
    patch = canvas.box((-4.6, 4.6), (wall - ROOF - length, wall - ROOF + 3), (middle - half - 8, middle + half))
    if patch is None:
        return
    behind: Field = np.float32(wall - ROOF) - patch.a
    drop = squared(patch.s - np.float32(middle) + np.float32(0.2) * behind, half)
    width = np.float32(3.0) + np.float32(1.4 / length) * np.maximum(behind, 0)
    plate = squared(patch.r, width) + drop * drop + cubed(behind - length / 2, length / 2 + 1.0)
    patch.paint_bone(plate, 3.4)
