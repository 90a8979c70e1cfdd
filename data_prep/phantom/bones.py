"""Painting bones and discs."""

from __future__ import annotations

import numpy as np

from data_prep.phantom.anatomy import FIRST_SACRAL, Anatomy, Disc, Vertebra
from data_prep.phantom.canvas import Canvas, Field, Mask, Patch
from data_prep.phantom.tissue import Tissue

SHELL = 1.1
"""Cortical bone in mm."""


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """Posterior elements, then discs, then bodies and pedicles."""
    for vertebra in anatomy.vertebrae:
        _posterior(canvas, vertebra)
    _sacral_wings(canvas, anatomy)
    for i, disc in enumerate(anatomy.discs):
        _disc(canvas, disc, Tissue.NUCLEUS + i)
    for vertebra in anatomy.vertebrae:
        _body(canvas, vertebra)


def ellipsoid(
    patch: Patch, centre: tuple[float, float, float], radii: tuple[float, float, float], lean: float = 0.0
) -> Field:
    """Squared radial fraction (1 on the surface) of an ellipsoid mirrored to both sides.

    ``centre`` is ``(|r|, a, s)``; ``lean`` turns it in the axial plane (rad), its front away from the midline.
    """
    side, front = patch.side - np.float32(centre[0]), patch.a - np.float32(centre[1])
    if lean:
        cos, sin = np.float32(np.cos(lean)), np.float32(np.sin(lean))
        side, front = side * cos - front * sin, side * sin + front * cos
    return (side / radii[0]) ** 2 + (front / radii[1]) ** 2 + ((patch.s - np.float32(centre[2])) / radii[2]) ** 2


def _bone(patch: Patch, squared: Field, least: float, shell: float = SHELL) -> None:
    """A bone with a cortical shell; ``least`` is the smallest radius of the ellipsoid behind ``squared``."""
    patch.paint(squared <= 1.0, Tissue.CORTEX)
    patch.paint(squared <= max(0.0, 1.0 - shell / least) ** 2, Tissue.MARROW)


def _disc(canvas: Canvas, disc: Disc, nucleus: int) -> None:
    """Annulus and nucleus, thick enough to fill the hollows of the end plates that are painted over them."""
    half = disc.height / 2 + 2.5
    width, depth = disc.width / 2, disc.depth / 2
    patch = canvas.box((-width, width), (-depth, depth), (disc.s - half, disc.s + half))
    if patch is None:
        return
    rim = _outline(patch, width, depth)
    height = np.abs(patch.s - np.float32(disc.s))
    patch.paint((rim <= 1.0) & (height <= half), Tissue.ANNULUS)
    core = (patch.r / (0.68 * width)) ** 2 + ((patch.a + np.float32(1.5)) / (0.62 * depth)) ** 2
    patch.paint(core + (height / (disc.height / 2 + 1.2)) ** 4 <= 1.0, nucleus)


def _outline(patch: Patch, width: float | Field, depth: float | Field) -> Field:
    """Radial fraction to the power of three of a kidney-shaped cross-section, flat at the back."""
    front = patch.a / depth
    hollow = np.float32(0.10) * np.exp(-((patch.r / np.float32(9.0)) ** 2))
    back = np.where(front < 0, -front + hollow - np.float32(0.05), front)
    return np.abs(patch.side / width) ** 3 + np.abs(back) ** 3


def _body(canvas: Canvas, body: Vertebra) -> None:
    """A waisted body with hollow end plates, a cortical shell and the basivertebral vein; and its pedicles."""
    half, width, depth = body.height / 2, body.width / 2, body.depth / 2
    patch = canvas.box((-width, width), (-depth - 1, depth + 1), (body.s - half, body.s + half))
    if patch is None:
        return
    height = np.abs(patch.s - np.float32(body.s)) / np.float32(half)
    waist = np.float32(0.91) + np.float32(0.09) * height**2
    rim = _outline(patch, width * waist, depth * waist)
    hollow = np.float32(0.0 if body.sacral else 1.7) * np.clip(1 - rim, 0, 1)
    inside = (rim <= 1.0) & (height * np.float32(half) <= half - hollow)
    patch.paint(inside, Tissue.CORTEX)
    core = (rim <= (1.0 - SHELL / depth) ** 3) & (height * np.float32(half) <= half - hollow - SHELL)
    patch.paint(core, Tissue.MARROW)
    if not body.sacral:
        _vein(patch, body, inside)


def _vein(patch: Patch, body: Vertebra, inside: Mask) -> None:
    """The basivertebral vein: a wedge that opens to the canal in the middle of the posterior wall."""
    ahead = patch.a + np.float32(body.depth / 2)
    wedge = np.abs(patch.s - np.float32(body.s)) < np.float32(2.4) - ahead * np.float32(0.2)
    patch.paint(inside & wedge & (ahead < 11.0) & (patch.side < 5.0), Tissue.VEIN)


def pedicle_height(body: Vertebra) -> float:
    """Height ``s`` of the middle of a vertebra's pedicles."""
    return body.s + 0.22 * body.height


def _posterior(canvas: Canvas, body: Vertebra) -> None:
    """Pedicles, transverse processes, articular pillars, laminae and the spinous process."""
    wall = -body.depth / 2
    half = body.height / 2
    patch = canvas.box((-46, 46), (wall - 58, wall + 5), (body.s - half - 20, body.s + half + 14))
    if patch is None:
        return
    pedicle = pedicle_height(body)
    if not body.sacral:
        _bone(patch, ellipsoid(patch, (34.0, wall - 13.0, pedicle - 1.0), (15.0, 3.6, 4.5), -0.25), 3.6)
        _facets(patch, wall, body)
    _lamina(patch, wall, body)
    _spinous(patch, wall, body)
    across = _squared(patch.side - np.float32(16.5), 4.6) + _squared(patch.s - np.float32(pedicle), 7.4)
    along = np.where((patch.a < wall + 4) & (patch.a > wall - 14), np.float32(0), np.float32(9))
    _bone(patch, across + along, 4.6)


def _squared(values: Field, radius: float) -> Field:
    return (values / np.float32(radius)) ** 2


def _facets(patch: Patch, wall: float, body: Vertebra) -> None:
    """Superior processes reach up to the disc above, inferior ones down to the disc below; cartilage between."""
    upper, lower = body.s + 0.5 * body.height + 2.0, body.s - 0.5 * body.height - 4.0
    _bone(patch, ellipsoid(patch, (18.5, wall - 14.0, upper - 4.0), (4.2, 6.2, 12.0), 0.6), 4.2)
    joint = ellipsoid(patch, (14.8, wall - 19.0, lower - 1.0), (5.8, 7.2, 9.5), 0.6)
    patch.paint(joint <= 1.0, Tissue.CARTILAGE)
    _bone(patch, ellipsoid(patch, (14.2, wall - 19.6, lower), (4.9, 6.6, 11.0), 0.6), 4.9)


def _lamina(patch: Patch, wall: float, body: Vertebra) -> None:
    """A roof over the canal, highest at the midline."""
    roof = np.float32(wall - 26.5) + np.float32(0.5) * patch.side
    depth = _squared(patch.a - roof, 3.4)
    reach = np.where(patch.side < 15.0, np.float32(0), np.float32(9))
    half = 0.62 * body.height if body.sacral else 9.0
    _bone(patch, depth + _squared(patch.s - np.float32(body.s - 3.0), half) + reach, 3.4)


def _spinous(patch: Patch, wall: float, body: Vertebra) -> None:
    """A plate in the midline, running back and slightly down."""
    length = 12.0 if body.sacral else 27.0
    behind = np.float32(wall - 27.0) - patch.a
    drop = patch.s - np.float32(body.s - 7.0) + np.float32(0.16) * behind
    plate = (
        _squared(patch.r, 3.4) + _squared(drop, 9.5) ** 2 + _squared(behind - np.float32(length / 2), length / 2) ** 3
    )
    _bone(patch, plate, 3.4)


def _sacral_wings(canvas: Canvas, anatomy: Anatomy) -> None:
    """The lateral masses of the sacrum and the iliac bones beside them."""
    first = anatomy.vertebrae[FIRST_SACRAL]
    top = first.s + first.height / 2
    patch = canvas.box((-110, 110), (-60, 35), (top - 75, top + 45))
    if patch is None:
        return
    down = np.float32(top + 2.0) - patch.s
    slope = np.float32(0.25) * np.maximum(patch.side - 20, 0)
    wing = _squared(patch.side, 53.0) ** 2 + _squared(patch.a + np.float32(16.0), 17.0) ** 2
    _bone(patch, np.where(down > slope, wing, np.float32(9)), 17.0)
    crest = np.float32(62.0) - np.float32(0.55) * (patch.a + 20) + np.float32(0.35) * np.clip(-down, -30, 50)
    blade = _squared(patch.side - crest, 5.5) ** 2 + _squared(patch.a + np.float32(14.0), 36.0) ** 4
    _bone(patch, np.where(down > -32, blade, np.float32(9)), 5.5)
