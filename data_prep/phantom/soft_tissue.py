"""Painting everything around the spine: skin, fat, muscles, vessels, and what fills the belly."""

from __future__ import annotations

import numpy as np

from data_prep.phantom.anatomy import CENTRE, FIRST_LUMBAR, FIRST_SACRAL, Anatomy
from data_prep.phantom.canvas import Canvas, Field, Mask, Patch, cubed, squared
from data_prep.phantom.tissue import Tissue

FASCIA = -78.0
"""``a`` of the back of the erector muscles."""
FRONT = 120.0
HALF_WIDTH = 165.0


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """From the skin inwards."""
    _body_wall(canvas.whole, anatomy)
    _belly(canvas, anatomy)
    _back_muscles(canvas, anatomy)
    _psoas(canvas, anatomy)
    _vessels(canvas, anatomy)


def _body_wall(whole: Patch, anatomy: Anatomy) -> None:
    """Skin over subcutaneous fat over air."""
    back = FASCIA - anatomy.fat
    half = (FRONT - back) / 2
    rim = cubed(whole.r, HALF_WIDTH) + cubed(whole.a - (back + FRONT) / 2, half)
    whole.paint(rim <= 1.0, Tissue.SKIN)
    whole.paint(rim <= (1.0 - 1.8 / half) ** 3, Tissue.FAT)


def _fatty(patch: Patch, anatomy: Anatomy, amount: float, where: Mask) -> None:
    """Fat between the bundles of a muscle, which run along the spine; ``amount`` is about its share."""
    r, a, s = patch.r[where], patch.a[where], patch.s[where]
    phase = float(anatomy.seed % 97)
    bend = np.sin(0.11 * r - 0.14 * a + phase) + np.sin(0.07 * r + 0.19 * a + 2.0 * phase)  # warps the pattern
    waves = np.sin(0.23 * r + 2.6 * bend + 0.02 * s)
    waves *= np.sin(0.71 * a + 1.7 * bend + 0.05 * s + 2.0 * phase)
    waves += 0.5 * np.sin(0.93 * (r + 0.6 * a) + 3.0 * bend + 0.03 * s)
    patch.tissue[where] = np.where(waves > 1.45 - 2.6 * amount, np.uint8(Tissue.FAT), np.uint8(Tissue.MUSCLE))


def _back_muscles(canvas: Canvas, anatomy: Anatomy) -> None:
    """Multifidus beside the spinous processes, erector spinae beside it, quadratus lumborum in front."""
    sacral = anatomy.vertebrae[FIRST_SACRAL].s
    back = canvas.box((-75, 75), (FASCIA - 3, -28), (-160, 160))
    if back is not None:
        thin = np.clip((back.s - (sacral - 45.0)) / 60.0, 0.25, 1.0)
        erector = cubed(back.side - 42.0, 29.0 * thin) + cubed(back.a + 54.0, 24.0 * thin)
        multifidus = cubed(back.side - 16.0, 13.5) + cubed(back.a + 55.0, 22.0 * thin)
        where = (erector <= 1.0) & (multifidus > 1.15) | (multifidus <= 1.0)
        _fatty(back, anatomy, anatomy.streaks, where)
    front = canvas.box((-75, 75), (-36, -8), (sacral + 28, 160))
    if front is not None:
        quadratus = squared(front.side - 62.0, 10.0) + squared(front.a + 22.0, 12.0)
        front.paint((quadratus <= 1.0) & (front.s > sacral + 28), Tissue.MUSCLE)


def _psoas(canvas: Canvas, anatomy: Anatomy) -> None:
    """Beside the bodies from L1, growing downwards and moving away from the midline."""
    top, bottom = anatomy.vertebrae[FIRST_LUMBAR].s + 15.0, anatomy.vertebrae[FIRST_SACRAL + 2].s
    patch = canvas.box((-75, 75), (-30, 45), (bottom, top))
    if patch is None:
        return
    place = np.clip((top - patch.s) / (top - bottom), 0, 1)
    radius = 5.0 + 18.0 * np.minimum(place * 1.5, 1)
    centre = 22.0 + 24.0 * place
    forward = -5.0 + 22.0 * place * place
    where = squared(patch.side - centre, 0.85 * radius) + squared(patch.a - forward, radius) <= 1.0
    _fatty(patch, anatomy, 0.3 * anatomy.streaks, where)


def _belly(canvas: Canvas, anatomy: Anatomy) -> None:
    """Bowel loops in fat."""
    patch = canvas.box((-125, 125), (30, 105), (-170, 170))
    if patch is None:
        return
    phase = float(anatomy.seed % 89)
    bend = np.sin(0.05 * patch.r + 0.07 * patch.a + phase) + np.sin(0.045 * patch.s - 0.06 * patch.a)
    loops = np.sin(0.09 * patch.r + 2.1 * bend + phase)
    loops += np.sin(0.13 * patch.a + 0.05 * patch.s + 1.6 * bend)
    loops += np.sin(0.08 * patch.s + 0.04 * patch.r + 1.2 * bend + phase)
    inner = squared(patch.a - 68.0, 40.0) + squared(patch.r, 125.0) < 1.0 + 0.12 * loops
    patch.paint(inner & (loops > 0.1), Tissue.VISCERA)
    patch.paint(inner & (loops > 0.7), Tissue.BOWEL)


def _vessels(canvas: Canvas, anatomy: Anatomy) -> None:
    """Aorta left and vena cava right of the midline, dividing in front of L4."""
    fork = anatomy.vertebrae[CENTRE + 1].s
    for centre, radius in ((-9.0, 8.5), (12.0, 9.5)):
        reach = (centre - 34, centre + radius) if centre < 0 else (centre - radius, centre + 34)
        patch = canvas.box(reach, (8, 38), (fork - 80, 170))
        if patch is not None:
            _vessel(patch, centre, radius, fork)


def _vessel(patch: Patch, centre: float, radius: float, fork: float) -> None:
    below: Field = np.maximum(fork - patch.s, np.float32(0))
    wide: Field = np.where(below > 0, np.float32(6.0), np.float32(radius)).astype(np.float32)
    side: Field = patch.r - (centre + float(np.sign(centre)) * 0.42 * below)
    ring = squared(side, wide) + squared(patch.a - (26.0 - 0.10 * below), 0.85 * wide)
    patch.paint(ring <= 1.0, Tissue.FLOWING_BLOOD)
