"""Painting bones and discs."""

from __future__ import annotations

import numpy as np

from data_prep.phantom import arch, haemangioma, pelvis
from data_prep.phantom.anatomy import Anatomy, Disc, Vertebra
from data_prep.phantom.canvas import Canvas, Field, Mask, Patch, speckle, squared
from data_prep.phantom.tissue import Tissue

RIM = 1.0
"""Cortical bone around a body in mm."""
END_PLATE = 0.9
"""Thickness of an end plate in mm."""
HOLLOW = 2.5
"""Depth of a disc inside the hollows of the end plates in mm."""
CLEFT = 0.35
"""Hydration from which a nucleus has its dark cleft."""


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """Posterior elements and pedicles, then discs, then bodies and what is in them."""
    arch.paint(canvas, anatomy)
    pelvis.paint_sacrum(canvas, anatomy)
    for i, disc in enumerate(anatomy.discs):
        _annulus(canvas, disc)
        _nucleus(canvas, disc, Tissue.NUCLEUS + i)
    for vertebra in anatomy.vertebrae:
        _body(canvas, vertebra)
    haemangioma.paint(canvas, anatomy)


def _annulus(canvas: Canvas, disc: Disc) -> None:
    """A whole disc, thick enough to fill the hollows of the end plates that are painted over it."""
    half, width, depth = disc.height / 2 + HOLLOW, disc.width / 2, disc.depth / 2
    patch = canvas.box((-width, width), (-depth, depth), (disc.s - half, disc.s + half))
    if patch is not None:
        inside = (_outline(patch, width, depth) <= 1.0) & (np.abs(patch.s - np.float32(disc.s)) <= half)
        patch.paint(inside, Tissue.ANNULUS)


def _nucleus(canvas: Canvas, disc: Disc, tissue: int) -> None:
    """Its nucleus, which fades into the annulus: the samples of a voxel disagree on where it ends."""
    half, width, depth = disc.height / 2 + HOLLOW, 0.68 * disc.width / 2, 0.62 * disc.depth / 2
    reach = 1.35
    patch = canvas.box(
        (-reach * width, reach * width), (-reach * depth - 1.5, reach * depth - 1.5), (disc.s - half, disc.s + half)
    )
    if patch is None:
        return
    height = patch.s - np.float32(disc.s)
    core = squared(patch.r, width) + squared(patch.a + 1.5, depth)
    core += squared(squared(height, disc.height / 2 + 1.2), 1.0)
    patch.paint(core + 0.6 * speckle(patch.r, patch.a, patch.s) <= patch.graded(0.7, 1.5), tissue)
    if disc.hydration > CLEFT:
        patch.paint((core <= 0.55) & (np.abs(height) <= patch.graded(0.2, 0.9)), Tissue.ANNULUS)


def _outline(patch: Patch, width: float | Field, depth: float | Field) -> Field:
    """About the third power of the radial fraction of a kidney-shaped cross-section, hollow at the back."""
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
    room = half - (0.0 if body.sacral else 1.7) * np.clip(1 - rim, 0, 1) - np.abs(height)
    inside = (rim <= 1.0) & (room >= 0)
    patch.paint(inside, Tissue.CORTEX)
    patch.paint((rim <= (1.0 - RIM / depth) ** 3) & (room >= END_PLATE), Tissue.MARROW)
    if not body.sacral:
        _vein(patch, body, inside)


def _vein(patch: Patch, body: Vertebra, inside: Mask) -> None:
    """The basivertebral vein: a wedge that opens to the canal in the middle of the posterior wall."""
    ahead = patch.a + body.depth / 2
    wedge = np.abs(patch.s - body.s) < 2.4 - ahead * 0.2
    patch.paint(inside & wedge & (patch.side < 5.5 - 0.5 * ahead), Tissue.VEIN)
