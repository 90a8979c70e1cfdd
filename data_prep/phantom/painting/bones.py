"""Painting bones and discs."""

from __future__ import annotations

import numpy as np

from data_prep.phantom.anatomy.curve import Field
from data_prep.phantom.anatomy.person import FIRST_SACRAL, Anatomy, Disc, Vertebra
from data_prep.phantom.painting import arch
from data_prep.phantom.painting.canvas import OUTSIDE, Canvas, Mask, Patch, Tissue, speckle, squared

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


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """Posterior elements and sacral wings, then discs, then bodies and what lies in them."""
    arch.paint(canvas, anatomy)
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
