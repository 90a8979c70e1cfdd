"""Painting bones and discs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.anatomy import FIRST_SACRAL, Anatomy, Disc, Vertebra
from data_prep.phantom.canvas import Canvas, Field, Mask, Patch, cubed, squared
from data_prep.phantom.tissue import Tissue

SHELL = 1.1
"""Cortical bone in mm."""
OUTSIDE = np.float32(9.0)
SIDES = (-1.0, 1.0)


@dataclass(frozen=True)
class Ellipsoid:
    """A bone of the right side; the left one is its mirror image.

    ``lean`` turns it in the axial plane (rad), its front away from the midline.
    """

    r: float
    a: float
    s: float
    half_width: float
    half_depth: float
    half_height: float
    lean: float = 0.0

    def patch(self, canvas: Canvas, sign: float) -> Patch | None:
        """The samples around it on the right (sign 1) or left (-1)."""
        across = abs(self.half_width * np.cos(self.lean)) + abs(self.half_depth * np.sin(self.lean))
        deep = abs(self.half_depth * np.cos(self.lean)) + abs(self.half_width * np.sin(self.lean))
        inner, outer = sorted((sign * (self.r - across), sign * (self.r + across)))
        heights = (self.s - self.half_height, self.s + self.half_height)
        return canvas.box((inner, outer), (self.a - deep, self.a + deep), heights)

    def squared_radius(self, patch: Patch) -> Field:
        """1 on the surface."""
        side, front = patch.side - self.r, patch.a - self.a
        if self.lean:
            cos, sin = float(np.cos(self.lean)), float(np.sin(self.lean))
            side, front = side * cos - front * sin, side * sin + front * cos
        total = squared(side, self.half_width) + squared(front, self.half_depth)
        total += squared(patch.s - self.s, self.half_height)
        return total

    def paint(self, canvas: Canvas, tissue: Tissue | None = None) -> None:
        """Both sides, as bone with a shell or of one tissue."""
        for sign in SIDES:
            patch = self.patch(canvas, sign)
            if patch is None:
                continue
            if tissue is None:
                _bone(patch, self.squared_radius(patch), min(self.half_width, self.half_depth))
            else:
                patch.paint(self.squared_radius(patch) <= 1.0, tissue)


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """Posterior elements, then discs, then bodies and pedicles."""
    for vertebra in anatomy.vertebrae:
        _posterior(canvas, vertebra)
    _sacral_wings(canvas, anatomy)
    for i, disc in enumerate(anatomy.discs):
        _disc(canvas, disc, Tissue.NUCLEUS + i)
    for vertebra in anatomy.vertebrae:
        _body(canvas, vertebra)


def _bone(patch: Patch, squared_radius: Field, least: float, shell: float = SHELL) -> None:
    """A bone with a cortical shell; ``least`` is the smallest radius."""
    patch.paint(squared_radius <= 1.0, Tissue.CORTEX)
    patch.paint(squared_radius <= max(0.0, 1.0 - shell / least) ** 2, Tissue.MARROW)


def _disc(canvas: Canvas, disc: Disc, nucleus: int) -> None:
    """Annulus and nucleus, thick enough to fill the hollows of the end plates that are painted over them."""
    half = disc.height / 2 + 2.5
    width, depth = disc.width / 2, disc.depth / 2
    patch = canvas.box((-width, width), (-depth, depth), (disc.s - half, disc.s + half))
    if patch is None:
        return
    height = patch.s - disc.s
    patch.paint((_outline(patch, width, depth) <= 1.0) & (np.abs(height) <= half), Tissue.ANNULUS)
    core = squared(patch.r, 0.68 * width) + squared(patch.a + 1.5, 0.62 * depth)
    core += squared(squared(height, disc.height / 2 + 1.2), 1.0)
    patch.paint(core <= 1.0, nucleus)


def _outline(patch: Patch, width: float | Field, depth: float | Field) -> Field:
    """Third power of the radial fraction of a kidney-shaped cross-section, hollow at the back."""
    front = patch.a / depth
    hollow = 0.10 * np.exp(-squared(patch.r, 9.0)) - 0.05
    return cubed(patch.r, width) + cubed(np.where(front < 0, front - hollow, front), 1.0)


def _body(canvas: Canvas, body: Vertebra) -> None:
    """A waisted body with hollow end plates, a cortical shell and the basivertebral vein."""
    half, width, depth = body.height / 2, body.width / 2, body.depth / 2
    patch = canvas.box((-width, width), (-depth - 1, depth + 1), (body.s - half, body.s + half))
    if patch is None:
        return
    height = patch.s - body.s
    waist = 0.91 + 0.09 * squared(height, half)
    rim = _outline(patch, width * waist, depth * waist)
    room = half - (0.0 if body.sacral else 1.7) * np.clip(1 - rim, 0, 1) - np.abs(height)
    inside = (rim <= 1.0) & (room >= 0)
    patch.paint(inside, Tissue.CORTEX)
    patch.paint((rim <= (1.0 - SHELL / depth) ** 3) & (room >= SHELL), Tissue.MARROW)
    if not body.sacral:
        _vein(patch, body, inside)


def _vein(patch: Patch, body: Vertebra, inside: Mask) -> None:
    """The basivertebral vein: a wedge that opens to the canal in the middle of the posterior wall."""
    ahead = patch.a + body.depth / 2
    wedge = np.abs(patch.s - body.s) < 2.4 - ahead * 0.2
    patch.paint(inside & wedge & (ahead < 11.0) & (patch.side < 5.0), Tissue.VEIN)


def pedicle_height(body: Vertebra) -> float:
    """Height ``s`` of the middle of a vertebra's pedicles."""
    return body.s + 0.22 * body.height


def _posterior(canvas: Canvas, body: Vertebra) -> None:
    """Pedicles, transverse processes, articular processes, the lamina and the spinous process."""
    wall = -body.depth / 2
    if not body.sacral:
        Ellipsoid(34.0, wall - 13.0, pedicle_height(body) - 1.0, 15.0, 3.6, 4.5, -0.25).paint(canvas)
        _facets(canvas, body, wall)
    _lamina(canvas, body, wall)
    _spinous(canvas, body, wall)
    for sign in SIDES:
        _pedicle(canvas, body, wall, sign)


def _facets(canvas: Canvas, body: Vertebra, wall: float) -> None:
    """Superior processes reach up to the disc above, inferior ones down to the disc below; cartilage between."""
    upper, lower = body.s + 0.5 * body.height - 2.0, body.s - 0.5 * body.height - 4.0
    Ellipsoid(18.5, wall - 14.0, upper, 4.2, 6.2, 12.0, 0.6).paint(canvas)
    Ellipsoid(14.8, wall - 19.0, lower - 1.0, 5.8, 7.2, 9.5, 0.6).paint(canvas, Tissue.CARTILAGE)
    Ellipsoid(14.2, wall - 19.6, lower, 4.9, 6.6, 11.0, 0.6).paint(canvas)


def _pedicle(canvas: Canvas, body: Vertebra, wall: float, sign: float) -> None:
    """A short bridge from the body to the processes."""
    inner, outer = sorted((sign * 11.5, sign * 21.5))
    s = pedicle_height(body)
    patch = canvas.box((inner, outer), (wall - 14, wall + 4), (s - 7.5, s + 7.5))
    if patch is None:
        return
    across = squared(patch.side - 16.5, 4.6) + squared(patch.s - s, 7.4)
    _bone(patch, np.where((patch.a < wall + 4) & (patch.a > wall - 14), across, OUTSIDE), 4.6)


def _lamina(canvas: Canvas, body: Vertebra, wall: float) -> None:
    """A roof over the canal, highest at the midline."""
    half = 0.62 * body.height if body.sacral else 9.0
    patch = canvas.box((-15, 15), (wall - 31, wall - 15), (body.s - 3 - half, body.s - 3 + half))
    if patch is None:
        return
    behind: Field = patch.a - np.float32(0.5) * patch.side - np.float32(wall - 26.5)
    roof = squared(behind, 3.4) + squared(patch.s - (body.s - 3.0), half)
    _bone(patch, np.where(patch.side < 15.0, roof, OUTSIDE), 3.4)


def _spinous(canvas: Canvas, body: Vertebra, wall: float) -> None:
    """A plate in the midline, running back and slightly down."""
    length = 12.0 if body.sacral else 27.0
    patch = canvas.box((-3.4, 3.4), (wall - 27 - length, wall - 27), (body.s - 22, body.s + 3))
    if patch is None:
        return
    behind: Field = (wall - 27.0) - patch.a
    drop = squared(patch.s - (body.s - 7.0) + 0.16 * behind, 9.5)
    plate = squared(patch.r, 3.4) + drop * drop + cubed(behind - length / 2, length / 2)
    _bone(patch, plate, 3.4)


def _sacral_wings(canvas: Canvas, anatomy: Anatomy) -> None:
    """The lateral masses of the sacrum and the iliac bones beside them."""
    first = anatomy.vertebrae[FIRST_SACRAL]
    top = first.s + first.height / 2 + 2.0
    patch = canvas.box((-54, 54), (-34, 2), (top - 75, top))
    if patch is not None:
        slope = np.maximum(patch.side - 20.0, 0) * 0.25
        wing = squared(squared(patch.r, 53.0), 1.0) + squared(patch.a + 16.0, 17.0)
        _bone(patch, np.where(top - patch.s > slope, wing, OUTSIDE), 17.0)
    for near, far in ((-110.0, -30.0), (30.0, 110.0)):
        patch = canvas.box((near, far), (-52, 24), (top - 75, top + 32))
        if patch is not None:
            _ilium(patch, top)


def _ilium(patch: Patch, top: float) -> None:
    """An iliac blade, running outwards and forwards, farther from the midline higher up."""
    above: Field = np.clip(patch.s - top, -50, 30).astype(np.float32, copy=False)
    beside: Field = patch.side - patch.a * 0.44 - above * 0.35 - 70.8
    depth = squared(squared(patch.a + 14.0, 36.0), 1.0)
    blade = squared(squared(beside, 6.5), 1.0) + depth * depth
    _bone(patch, np.where(patch.s < top + 32, blade, OUTSIDE), 6.5)
