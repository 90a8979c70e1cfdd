"""Painting bones and discs, the posterior elements of the vertebrae, and the ligaments between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.canal_shape import RECESS_DROP
from data_prep.phantom.curve import Field
from data_prep.phantom.painting.canvas import (
    OUTSIDE,
    SHELL,
    SIDES,
    Canvas,
    Mask,
    Patch,
    Tissue,
    cubed,
    speckle,
    squared,
)
from data_prep.phantom.person import SIGN, Anatomy, Facet
from data_prep.phantom.vertebrae import FIRST_SACRAL, Disc, Modic, Vertebra

END_PLATE = (0.3, 1.1)
"""Thickness of an end plate in mm, which differs between the samples of a voxel."""
HOLLOWS = (0.8, 1.7)
"""How far discs extend into the hollow end plates above and below them: the upper end plate of a body, the lower."""
CLEFT = 0.35
"""Discs with more hydration than this have a dark cleft in the nucleus."""
TRABECULAE = 3.4
"""Distance between the trabeculae of a haemangioma in mm. They run upright: axial images show them as dots."""
SPINOUS = 28.0
"""Length of a lumbar spinous process in mm."""
LAMINA = 3.0
"""Half the thickness of a lamina in mm."""
MODIC = {Modic.OEDEMA: Tissue.OEDEMA, Modic.FAT: Tissue.HAEMANGIOMA, Modic.SCLEROSIS: Tissue.SCLEROSIS}


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """Posterior elements and sacral wings, then discs, then bodies and what lies in them."""
    _arches(canvas, anatomy)
    _sacral_wings(canvas, anatomy)
    for i, disc in enumerate(anatomy.discs):
        _disc(canvas, disc, Tissue.NUCLEUS + i)
    above = Disc(0.0, 0.0, 0.0, 0.0, 0.0)
    for body, below in zip(anatomy.vertebrae, anatomy.discs, strict=True):
        _body(canvas, body, above, below)
        above = below
    _haemangioma(canvas, anatomy)


def _disc(canvas: Canvas, disc: Disc, tissue: int) -> None:
    """A disc. It fills the hollows of the end plates, which are painted over it."""
    wide = 1.0 + 0.7 * disc.lip
    half, width, depth = disc.height / 2 + HOLLOWS[1], wide * disc.width / 2, wide * disc.depth / 2
    reach = half + abs(disc.slope) * depth
    patch = canvas.box((-width, width), (-depth, depth), (disc.s - reach, disc.s + reach))
    if patch is None:
        return
    height: Field = patch.s - np.float32(disc.s) - np.float32(disc.slope) * patch.a
    rim = _outline(patch, width, depth)
    patch.paint((rim <= 1.0) & (np.abs(height) <= half), Tissue.ANNULUS)
    # The nucleus fades into the annulus: the samples of a voxel have different outlines.
    core = squared(patch.r, 0.68 * width) + squared(patch.a + 1.5, 0.62 * depth)
    core += squared(squared(height, disc.height / 2 + 1.2), 1.0)
    patch.paint(core + 0.6 * speckle(patch.r, patch.a, patch.s) <= patch.spread(0.7, 1.5), tissue)
    if disc.hydration > CLEFT:
        patch.paint((core <= 0.55) & (np.abs(height) <= patch.spread(0.2, 0.9)), Tissue.ANNULUS)
    if disc.vacuum:
        uneven = height - np.float32(0.05) * patch.a - np.float32(0.04) * patch.r
        patch.paint((rim <= 0.5) & (np.abs(uneven) <= patch.spread(0.3, 1.0)), Tissue.AIR)


def _outline(patch: Patch, width: float | Field, depth: float | Field) -> Field:
    """About the third power of the radial fraction of a kidney-shaped cross-section, which is hollow at the back."""
    front = patch.a / depth
    hollow = np.float32(0.10) / (1.0 + squared(squared(patch.r, 9.0), 1.0)) - np.float32(0.05)
    across, along = squared(patch.r, width), squared(np.where(front < 0, front - hollow, front), 1.0)
    across *= 1.0 + across
    along *= 1.0 + along
    return (across + along) * np.float32(0.5)


def _body(canvas: Canvas, body: Vertebra, above: Disc, below: Disc) -> None:
    """A waisted body with hollow end plates, osteophytes, a cortical shell and the basivertebral vein."""
    half, most = body.height / 2, 1.0 + max(above.lip, below.lip)
    width, depth = body.width / 2, body.depth / 2
    reach = half + depth * max(abs(above.slope), abs(below.slope))
    patch = canvas.box(
        (-most * width, most * width), (-most * depth - 1, most * depth + 1), (body.s - reach, body.s + reach)
    )
    if patch is None:
        return
    # Its upper end is parallel to the disc above and its lower end to the disc below.
    height: Field = patch.s - np.float32(body.s)
    mean, twist = (above.slope + below.slope) / 2, (above.slope - below.slope) / 2
    height -= patch.a * (np.float32(mean) + np.float32(twist / half) * height)
    upper, ends = height > 0, squared(height, half)
    lips = np.where(upper, np.float32(above.lip), np.float32(below.lip)) * ends * ends * ends
    waist: Field = np.float32(0.91) + np.float32(0.09) * ends + lips
    rim = _outline(patch, width * waist, depth * waist)
    hollow = np.where(upper, np.float32(HOLLOWS[0]), np.float32(HOLLOWS[1])) * np.float32(not body.sacral)
    to_end_plate = half - hollow * np.clip(1 - rim, 0, 1) - np.abs(height)
    inside = (rim <= 1.0) & (to_end_plate >= 0)
    patch.paint(inside, Tissue.CORTEX)
    shell = patch.spread(*SHELL) / np.float32(depth)
    marrow = (rim <= 1.0 - 3.0 * shell) & (to_end_plate >= patch.spread(*END_PLATE))
    patch.paint(marrow, Tissue.MARROW)
    for disc, beside in ((above, upper), (below, ~upper)):
        if disc.modic is not Modic.NONE:
            changed = np.float32(2.5) + np.float32(5.0) * np.clip(1 - rim, 0, 1) + patch.spread(-2.0, 2.0)
            patch.paint(marrow & beside & (to_end_plate < changed), MODIC[disc.modic])
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
    """Ligaments of the midline, then the arch of every vertebra, then the joints between them."""
    roofs = [anatomy.canal.at(anatomy.canal.roof, body.s) for body in anatomy.vertebrae]
    for body, roof in zip(anatomy.vertebrae, roofs, strict=True):
        if not body.sacral:
            _midline_ligaments(canvas, body, roof)
    for body, roof in zip(anatomy.vertebrae, roofs, strict=True):
        _arch(canvas, body, roof)
    for (i, side), facet in anatomy.facets.items():
        _joint(canvas, anatomy, i, SIGN[side], facet)


def _midline_ligaments(canvas: Canvas, body: Vertebra, roof: float) -> None:
    """The interspinous ligament, and the supraspinous ligament over the tips of the spinous processes."""
    wall = -body.depth / 2
    low, high = body.s - 0.5 * body.height - 18.0, body.s + 0.5 * body.height
    tip = wall - roof - 4.0 - SPINOUS
    patch = canvas.box((-4.5, 4.5), (tip - 3.0, wall - roof), (low, high))
    if patch is None:
        return
    here = (patch.s >= np.float32(low)) & (patch.s < np.float32(high))
    ragged = patch.side + 2.4 * speckle(patch.r, patch.a, patch.s)
    patch.paint(here & (ragged < 2.6) & (patch.a > tip + 1.0), Tissue.INTERSPINOUS)
    patch.paint(here & (patch.side < 3.0) & (np.abs(patch.a - np.float32(tip)) < 1.3), Tissue.LIGAMENT)


def _arch(canvas: Canvas, body: Vertebra, roof: float) -> None:
    """Transverse processes, the isthmus between the articular processes, lamina, spinous process and pedicles."""
    wall, side = -body.depth / 2, body.pedicle_side
    if not body.sacral:
        Ellipsoid(side + 17.0, wall - 12.0, body.pedicle - 1.0, 15.0, 3.6, 4.8, -0.25).paint(canvas)
        Ellipsoid(side - 1.0, wall - 12.5, body.pedicle - 8.0, 4.2, 4.4, 10.0, 0.3).paint(canvas)
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
    length, half = (13.0, 8.0) if body.sacral else (SPINOUS, 11.0)
    middle, base = body.s - 7.0, wall - roof - 4.0
    patch = canvas.box((-4.8, 4.8), (base - length, base + 3), (middle - half - 8, middle + half))
    if patch is None:
        return
    behind: Field = np.float32(base) - patch.a
    drop = squared(patch.s - np.float32(middle) + np.float32(0.22) * behind, half)
    width = np.float32(3.0) + np.float32(1.6 / length) * np.maximum(behind, 0)
    plate = squared(patch.r, width) + drop * drop + cubed(behind - length / 2, length / 2 + 1.0)
    patch.paint_bone(plate, 3.4)
