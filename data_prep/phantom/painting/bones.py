"""Painting vertebral bodies and discs, what wears them, the sacrum and the iliac bones."""

from __future__ import annotations

import numpy as np

from data_prep.phantom.curve import Field
from data_prep.phantom.lesions import Node
from data_prep.phantom.painting import arches
from data_prep.phantom.painting.canvas import (
    OUTSIDE,
    SHELL,
    Canvas,
    Mask,
    Patch,
    Tissue,
    speckle,
    squared,
)
from data_prep.phantom.person import Anatomy
from data_prep.phantom.vertebrae import FIRST_LUMBAR, FIRST_SACRAL, Disc, Modic, Vertebra

END_PLATE = (0.3, 1.1)
"""Thickness of an end plate in mm, which differs between the samples of a voxel."""
HOLLOWS = (1.1, 2.1)
"""How far discs extend into the hollow end plates above and below them: the upper end plate of a body, the lower."""
CLEFT = 0.35
"""Discs with more hydration than this have a dark cleft in the nucleus."""
TRABECULAE = 3.4
"""Distance between the trabeculae of a haemangioma in mm. They run upright: axial images show them as dots."""
MODIC = {Modic.OEDEMA: Tissue.OEDEMA, Modic.FAT: Tissue.HAEMANGIOMA, Modic.SCLEROSIS: Tissue.SCLEROSIS}


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """Posterior elements and sacral wings, then discs, then bodies and what lies in them."""
    arches.paint(canvas, anatomy)
    _sacral_wings(canvas, anatomy)
    fissures = dict(enumerate(anatomy.lesions.fissures, start=FIRST_LUMBAR))
    for i, disc in enumerate(anatomy.discs):
        _disc(canvas, disc, Tissue.NUCLEUS + i, fissures.get(i))
    above = Disc(0.0, 0.0, 0.0, 0.0, 0.0)
    for body, below in zip(anatomy.vertebrae, anatomy.discs, strict=True):
        _body(canvas, body, above, below)
        above = below
    for node in anatomy.lesions.nodes:
        _node(canvas, anatomy, node)
    _haemangioma(canvas, anatomy)


def _disc(canvas: Canvas, disc: Disc, tissue: int, fissure: float | None) -> None:
    """A disc. It fills the hollows of the end plates, which are painted over it."""
    wide = 1.0 + 0.7 * disc.lip
    half, width, depth = disc.height / 2 + HOLLOWS[1], wide * disc.width / 2, wide * disc.depth / 2
    extent = half + abs(disc.slope) * depth
    patch = canvas.box((-width, width), (-depth, depth), (disc.s - extent, disc.s + extent))
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
    if fissure is not None:
        torn = squared(patch.r - np.float32(fissure), 3.5) + squared(patch.a + np.float32(0.84 * depth), 1.7)
        patch.paint((rim <= 1.0) & (torn + squared(height, 1.3) <= 1.0), Tissue.FLUID)
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
    extent = half + depth * max(abs(above.slope), abs(below.slope))
    patch = canvas.box(
        (-most * width, most * width), (-most * depth - 1, most * depth + 1), (body.s - extent, body.s + extent)
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


def _node(canvas: Canvas, anatomy: Anatomy, node: Node) -> None:
    """A Schmorl's node: disc within a dense rim, sunk into the marrow of the body above or below."""
    disc, body = anatomy.discs[node.disc], anatomy.vertebrae[node.disc + (0 if node.above else 1)]
    r, a = node.place[0] * body.width / 2, node.place[1] * body.depth / 2
    edge = body.s + (-0.5 if node.above else 0.5) * body.height + disc.slope * a
    reach, rim = node.depth + 2.0, 1.0 + 1.2 / node.radius
    wide = rim * node.radius
    patch = canvas.box((r - wide, r + wide), (a - wide, a + wide), (edge - reach, edge + reach))
    if patch is None:
        return
    ball = squared(patch.r - np.float32(r), node.radius) + squared(patch.a - np.float32(a), node.radius)
    ball += squared(patch.s - np.float32(edge), node.depth)
    bone = (patch.tissue == Tissue.MARROW) | (patch.tissue == Tissue.CORTEX)
    patch.paint((patch.tissue == Tissue.MARROW) & (ball <= rim * rim), Tissue.SCLEROSIS)
    patch.paint(bone & (ball <= 1.0), Tissue.NUCLEUS + node.disc)


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
