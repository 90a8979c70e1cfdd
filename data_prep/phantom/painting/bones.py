"""Painting bones and discs, the posterior elements of the vertebrae, and the ligaments between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.curve import Field
from data_prep.phantom.painting.canvas import OUTSIDE, SIDES, Canvas, Mask, Patch, Tissue, cubed, speckle, squared
from data_prep.phantom.person import FIRST_SACRAL, Anatomy, Disc, Vertebra

RIM = 1.0
"""Thickness of the cortical bone around a body in mm."""
END_PLATE = 0.9
"""Thickness of an end plate in mm."""
HOLLOW = 2.5
"""How far a disc extends into the hollows of the end plates, in mm."""
CLEFT = 0.35
"""Discs with more hydration than this have a dark cleft in the nucleus."""
TRABECULAE = 3.4
"""Distance between the trabeculae of a haemangioma in mm. They run upright: axial images show them as dots."""
SPINOUS = 29.0
"""Length of a lumbar spinous process in mm."""
ROOF = 27.0
"""Distance of its base from the posterior wall of the body, in mm."""


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """Posterior elements and sacral wings, then discs, then bodies and what lies in them."""
    _arches(canvas, anatomy)
    _sacral_wings(canvas, anatomy)
    for i, disc in enumerate(anatomy.discs):
        _annulus(canvas, disc)
        _nucleus(canvas, disc, Tissue.NUCLEUS + i)
    for vertebra in anatomy.vertebrae:
        _body(canvas, vertebra)
    _haemangioma(canvas, anatomy)


def _annulus(canvas: Canvas, disc: Disc) -> None:
    """A whole disc. It fills the hollows of the end plates, which are painted over it."""
    half, width, depth = disc.height / 2 + HOLLOW, disc.width / 2, disc.depth / 2
    patch = canvas.box((-width, width), (-depth, depth), (disc.s - half, disc.s + half))
    if patch is not None:
        inside = (_outline(patch, width, depth) <= 1.0) & (np.abs(patch.s - np.float32(disc.s)) <= half)
        patch.paint(inside, Tissue.ANNULUS)


def _nucleus(canvas: Canvas, disc: Disc, tissue: int) -> None:
    """The nucleus of a disc, which fades into the annulus: the samples of a voxel have different outlines."""
    half, width, depth = disc.height / 2 + HOLLOW, 0.68 * disc.width / 2, 0.62 * disc.depth / 2
    most = 1.35  # the largest of the outlines
    patch = canvas.box(
        (-most * width, most * width), (-most * depth - 1.5, most * depth - 1.5), (disc.s - half, disc.s + half)
    )
    if patch is None:
        return
    height = patch.s - np.float32(disc.s)
    core = squared(patch.r, width) + squared(patch.a + 1.5, depth)
    core += squared(squared(height, disc.height / 2 + 1.2), 1.0)
    patch.paint(core + 0.6 * speckle(patch.r, patch.a, patch.s) <= patch.spread(0.7, 1.5), tissue)
    if disc.hydration > CLEFT:
        patch.paint((core <= 0.55) & (np.abs(height) <= patch.spread(0.2, 0.9)), Tissue.ANNULUS)


def _outline(patch: Patch, width: float | Field, depth: float | Field) -> Field:
    """About the third power of the radial fraction of a kidney-shaped cross-section, which is hollow at the back."""
    front = patch.a / depth
    hollow = np.float32(0.10) / (1.0 + squared(squared(patch.r, 9.0), 1.0)) - np.float32(0.05)
    across, along = squared(patch.r, width), squared(np.where(front < 0, front - hollow, front), 1.0)
    across *= 1.0 + across
    along *= 1.0 + along
    return (across + along) * np.float32(0.5)


def _body(canvas: Canvas, body: Vertebra) -> None:
    """A waisted body with hollow end plates, a cortical shell and the basivertebral vein."""
    half, width, depth = body.height / 2, body.width / 2, body.depth / 2
    patch = canvas.box((-width, width), (-depth - 1, depth + 1), (body.s - half, body.s + half))
    if patch is None:
        return
    height = patch.s - body.s
    waist = 0.91 + 0.09 * squared(height, half)
    rim = _outline(patch, width * waist, depth * waist)
    to_end_plate = half - (0.0 if body.sacral else 1.7) * np.clip(1 - rim, 0, 1) - np.abs(height)
    inside = (rim <= 1.0) & (to_end_plate >= 0)
    patch.paint(inside, Tissue.CORTEX)
    patch.paint((rim <= (1.0 - RIM / depth) ** 3) & (to_end_plate >= END_PLATE), Tissue.MARROW)
    if not body.sacral:
        _vein(patch, body, inside)


def _vein(patch: Patch, body: Vertebra, inside: Mask) -> None:
    """The basivertebral vein: a wedge that opens to the canal in the middle of the posterior wall."""
    ahead = patch.a + body.depth / 2
    wedge = np.abs(patch.s - body.s) < 2.4 - ahead * 0.2
    patch.paint(inside & wedge & (patch.side < 5.5 - 0.5 * ahead), Tissue.VEIN)


def _haemangioma(canvas: Canvas, anatomy: Anatomy) -> None:
    """The person's haemangioma, if there is one: fat and vessels between few, thick trabeculae, within the marrow."""
    haemangioma = anatomy.variants.haemangioma
    if haemangioma is None:
        return
    body = anatomy.vertebrae[FIRST_SACRAL - 1 - haemangioma.above_sacrum]
    half_size = [body.width / 2, body.depth / 2, body.height / 2]
    r, a, s = np.array(haemangioma.place) * half_size + [0.0, 0.0, body.s]
    radius = haemangioma.radius
    patch = canvas.box((r - radius, r + radius), (a - radius, a + radius), (s - radius, s + radius))
    if patch is None:
        return
    ball = squared(patch.r - r, radius) + squared(patch.a - a, radius) + squared(patch.s - s, radius) <= 1.0
    inside = ball & (patch.tissue == Tissue.MARROW)
    turn = np.float32(2.0 * np.pi / TRABECULAE)
    trabeculae = np.cos(turn * patch.r) * np.cos(turn * (patch.a + np.float32(0.3) * patch.r)) > 0.72
    patch.paint(inside, Tissue.HAEMANGIOMA)
    patch.paint(inside & trabeculae, Tissue.CORTEX)


def _sacral_wings(canvas: Canvas, anatomy: Anatomy) -> None:
    """The lateral masses of the sacrum."""
    top = _top_of_sacrum(anatomy)
    patch = canvas.box((-54, 54), (-34, 2), (top - 75, top))
    if patch is None:
        return
    slope = np.maximum(patch.side - 20.0, 0) * 0.25
    wing = squared(squared(patch.r, 53.0), 1.0) + squared(patch.a + 16.0, 17.0)
    patch.paint_bone(np.where(top - patch.s > slope, wing, OUTSIDE), 17.0)


def paint_ilia(canvas: Canvas, anatomy: Anatomy) -> None:
    """The iliac bones. They lie far from the spine and are painted with the soft tissue, at one sample per voxel."""
    top = _top_of_sacrum(anatomy)
    for near, far in ((-110.0, -30.0), (30.0, 110.0)):
        patch = canvas.box((near, far), (-52, 24), (top - 75, top + 32))
        if patch is not None:
            _ilium(patch, top)


def _top_of_sacrum(anatomy: Anatomy) -> float:
    first = anatomy.vertebrae[FIRST_SACRAL]
    return first.s + first.height / 2 + 2.0


def _ilium(patch: Patch, top: float) -> None:
    """An iliac blade: it runs outwards and forwards, and lies farther from the midline higher up."""
    above: Field = np.clip(patch.s - top, -50, 30).astype(np.float32, copy=False)
    beside: Field = patch.side - patch.a * 0.44 - above * 0.35 - 70.8
    depth = squared(squared(patch.a + 14.0, 36.0), 1.0)
    blade = squared(squared(beside, 6.5), 1.0) + depth * depth
    patch.paint_bone(np.where(patch.s < top + 32, blade, OUTSIDE), 6.5)


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


def _arches(canvas: Canvas, anatomy: Anatomy) -> None:
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
