"""Painting the posterior elements of the vertebrae: arches, facet joints, and the ligaments between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.canal_shape import RECESS_DROP
from data_prep.phantom.curve import Field
from data_prep.phantom.painting.canvas import OUTSIDE, SIDES, Canvas, Patch, Tissue, cubed, speckle, squared
from data_prep.phantom.person import SIGN, Anatomy, Facet
from data_prep.phantom.vertebrae import Vertebra

SPINOUS = 28.0
"""Length of a lumbar spinous process in mm."""
LAMINA = 3.0
"""Half the thickness of a lamina in mm."""


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """Ligaments of the midline, then the arch of every vertebra, then the joints between them."""
    roofs = [anatomy.canal.at(anatomy.canal.roof, body.s) for body in anatomy.vertebrae]
    operated = anatomy.lesions.operated
    for i, (body, roof) in enumerate(zip(anatomy.vertebrae, roofs, strict=True)):
        if not body.sacral:
            _midline_ligaments(canvas, body, roof)
        if i in operated:
            _scar(canvas, body, roof)
    for i, (body, roof) in enumerate(zip(anatomy.vertebrae, roofs, strict=True)):
        _arch(canvas, body, roof, operated=i in operated)
    for (i, side), facet in anatomy.facets.items():
        _joint(canvas, anatomy, i, SIGN[side], facet)


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


def _midline_ligaments(canvas: Canvas, body: Vertebra, roof: float) -> None:
    """The interspinous ligament, and the supraspinous ligament over the tips of the spinous processes."""
    wall = -body.depth / 2
    low, high = body.s - 0.5 * body.height - 18.0, body.s + 0.5 * body.height
    tip = wall - roof - 4.0 - SPINOUS
    patch = canvas.box((-4.5, 4.5), (tip - 3.0, wall - roof), (low, high))
    if patch is None:
        return
    here = (patch.s >= np.float32(low)) & (patch.s < np.float32(high))
    # Fat lies between the fibres, so that the samples of a voxel differ.
    between, mixed = here & (patch.side < 3.6) & (patch.a > tip + 1.0), speckle(patch.r, patch.a, patch.s)
    patch.paint(between, Tissue.FAT)
    patch.paint(between & (mixed < 0.3 - 0.1 * patch.side), Tissue.INTERSPINOUS)
    patch.paint(here & (patch.side < 3.0) & (np.abs(patch.a - np.float32(tip)) < 1.3), Tissue.LIGAMENT)


def _scar(canvas: Canvas, body: Vertebra, roof: float) -> None:
    """What fills the place of a lamina and its spinous process that were removed: scar with fat, muscle behind it."""
    wall, half = -body.depth / 2, 0.8 * body.height
    patch = canvas.box((-12.0, 12.0), (wall - roof - 40.0, wall - roof), (body.s - 7.0 - half, body.s - 7.0 + half))
    if patch is None:
        return
    behind: Field = np.float32(wall - roof) - patch.a
    hole = squared(squared(patch.r, 11.0), 1.0) + squared(squared(patch.s - np.float32(body.s - 7.0), half), 1.0)
    hole += squared(squared(behind - 18.0, 19.0), 1.0)
    patch.paint(hole <= 1.0, Tissue.MUSCLE)
    waves = np.sin(0.5 * patch.r + 0.2 * behind) + np.sin(0.37 * behind - 0.31 * patch.s) + np.sin(0.23 * patch.s + 1.0)
    mixed = 0.8 * speckle(patch.r, patch.a, patch.s) + 0.5 * waves
    patch.paint((hole <= 1.0) & (mixed > 0.05 * behind - 0.4), Tissue.LIGAMENT)
    patch.paint((hole <= 1.0) & (mixed < -0.7), Tissue.FAT)


def _arch(canvas: Canvas, body: Vertebra, roof: float, *, operated: bool) -> None:
    """Transverse processes, the isthmus between the articular processes, lamina, spinous process and pedicles."""
    wall, side = -body.depth / 2, body.pedicle_side
    if not body.sacral:
        Ellipsoid(side + 17.0, wall - 12.0, body.pedicle - 1.0, 15.0, 3.6, 4.8, -0.25).paint(canvas)
        Ellipsoid(side - 1.0, wall - 12.5, body.pedicle - 8.0, 4.2, 4.4, 10.0, 0.3).paint(canvas)
    if not operated:
        _lamina(canvas, body, wall, roof)
        _spinous(canvas, body, wall, roof)
    for sign in SIDES:
        _pedicle(canvas, body, wall, sign)


def _joint(canvas: Canvas, anatomy: Anatomy, disc: int, sign: float, facet: Facet) -> None:
    """A facet joint: the superior process of the vertebra below in front, the inferior one of that above behind.

    The joint runs from front and near the midline to back and far from it; its front third turns across.
    """
    upper, lower = anatomy.vertebrae[disc : disc + 2]
    middle = anatomy.discs[disc].s
    side = (upper.pedicle_side + lower.pedicle_side) / 2 - 2.6
    wall = anatomy.canal.at(anatomy.canal.wall, middle)
    recess = anatomy.canal.at(anatomy.canal.recess[:, int(sign > 0)], middle - RECESS_DROP)
    inner, outer = sorted((sign * (side - 15.0), sign * (side + 15.0)))
    patch = canvas.box((inner, outer), (wall - 31.0, wall), (middle - 20.0, middle + 24.0))
    if patch is None:
        return
    cos, sin = np.float32(np.cos(facet.angle)), np.float32(np.sin(facet.angle))
    across, behind = patch.side - np.float32(side), np.float32(wall - 11.9) - patch.a
    along: Field = across * sin + behind * cos
    ahead: Field = across * cos - behind * sin + np.float32(0.03) * np.square(np.minimum(along, 0))
    large = 1.0 + facet.growth
    # A narrow recess lies in front of a thick superior process.
    thick = large * (3.7 + 0.3 * max(0.0, 5.0 - recess))
    low, high = lower.pedicle - 4.0, lower.pedicle + 17.0
    for depth, centre, extent, half in (
        (thick, facet.gap / 2 + thick, (low + high) / 2, (high - low) / 2),
        (large * 3.9, -facet.gap / 2 - large * 3.9, upper.pedicle - 20.0, 11.5),
    ):
        bone = squared(ahead - np.float32(centre), depth) + squared(squared(along, 7.6 * large), 1.0)
        bone += squared(squared(patch.s - np.float32(extent), half), 1.0)
        patch.paint_bone(bone, depth)
    space = (np.abs(ahead) <= facet.gap / 2) & (np.abs(along) <= 6.6 * large)
    between = (patch.s > upper.pedicle - 30.0) & (patch.s < high - 2.0)
    patch.paint(space & between, Tissue.FLUID if facet.fluid else Tissue.CARTILAGE)


def _pedicle(canvas: Canvas, body: Vertebra, wall: float, sign: float) -> None:
    """A short bridge from the body to the processes."""
    middle, half = body.pedicle_side, body.pedicle_half
    inner, outer = sorted((sign * (middle - half), sign * (middle + half)))
    s = body.pedicle
    patch = canvas.box((inner, outer), (wall - 13, wall + 5), (s - 7.5, s + 7.5))
    if patch is None:
        return
    across = squared(patch.side - np.float32(middle), half) + squared(patch.s - np.float32(s), 7.3)
    patch.paint_bone(np.where((patch.a < wall + 5) & (patch.a > wall - 13), across, OUTSIDE), half)


def _lamina(canvas: Canvas, body: Vertebra, wall: float, roof: float) -> None:
    """A roof over the canal: two plates that meet at about 100 degrees, their lower ends farther back."""
    half = 0.62 * body.height if body.sacral else 9.5
    middle = body.s - (3.0 if body.sacral else 4.0)
    lean = 0.0 if body.sacral else 0.27
    patch = canvas.box((-14, 14), (wall - roof - 14, wall - roof + 11), (middle - half, middle + half))
    if patch is None:
        return
    along: Field = patch.s - np.float32(middle)
    behind: Field = np.float32(wall - roof - LAMINA) - patch.a
    behind += np.float32(0.78) * patch.side - np.float32(lean) * (np.float32(half) - along)
    plate = squared(behind, 1.25 * LAMINA) + squared(squared(along, half), 1.0)
    patch.paint_bone(np.where(patch.side < 14.0, plate, OUTSIDE), LAMINA)


def _spinous(canvas: Canvas, body: Vertebra, wall: float, roof: float) -> None:
    """A plate in the midline that runs back and slightly down and is thicker at its tip."""
    length, half = (13.0, 8.0) if body.sacral else (SPINOUS, 12.0)
    middle, base = body.s - 7.0, wall - roof - 4.0
    patch = canvas.box((-4.8, 4.8), (base - length, base + 3), (middle - half - 8, middle + half))
    if patch is None:
        return
    behind: Field = np.float32(base) - patch.a
    drop = squared(patch.s - np.float32(middle) + np.float32(0.22) * behind, half)
    width = np.float32(3.0) + np.float32(1.6 / length) * np.maximum(behind, 0)
    plate = squared(patch.r, width) + drop * drop + cubed(behind - length / 2, length / 2 + 1.0)
    patch.paint_bone(plate, 3.4)
