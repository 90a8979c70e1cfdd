"""Painting everything around the spine: skin, fat, muscles, vessels, and what fills the belly."""

from __future__ import annotations

import numpy as np

from data_prep.phantom.anatomy import FIRST_SACRAL, Anatomy
from data_prep.phantom.canvas import Canvas, Field, Patch
from data_prep.phantom.tissue import Tissue

FASCIA = -78.0
"""``a`` of the back of the erector muscles."""


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """From the skin inwards."""
    whole = canvas.whole
    _body_wall(whole, anatomy)
    _belly(canvas, anatomy)
    _back_muscles(canvas, anatomy)
    _psoas(canvas, anatomy)
    _vessels(canvas, anatomy)


def _body_wall(whole: Patch, anatomy: Anatomy) -> None:
    """Skin over subcutaneous fat over air."""
    back = FASCIA - anatomy.fat
    middle, half = (back + 120.0) / 2, (120.0 - back) / 2
    rim = np.abs(whole.r / np.float32(165.0)) ** 3 + np.abs((whole.a - np.float32(middle)) / np.float32(half)) ** 3
    whole.paint(rim <= 1.0, Tissue.SKIN)
    whole.paint(rim <= (1.0 - 1.6 / half) ** 3, Tissue.FAT)


def _streaks(patch: Patch, anatomy: Anatomy, amount: float) -> Field:
    """A smooth field that exceeds 0 in about ``amount`` of a muscle: bundles running along the spine."""
    phase = anatomy.seed % 97
    waves = (
        np.sin(patch.r * np.float32(0.52) + np.float32(phase))
        + np.sin(patch.a * np.float32(0.61) + patch.s * np.float32(0.05) + np.float32(2 * phase))
        + np.sin((patch.r + patch.a) * np.float32(0.33) + patch.s * np.float32(0.04))
    )
    return waves - np.float32(3.0 - 4.2 * amount)


def _back_muscles(canvas: Canvas, anatomy: Anatomy) -> None:
    """Multifidus beside the spinous processes, erector spinae beside it, quadratus lumborum in front."""
    patch = canvas.box((-75, 75), (FASCIA - 3, -14), (-160, 160))
    if patch is None:
        return
    sacral = anatomy.vertebrae[FIRST_SACRAL].s
    thin = np.clip((patch.s - np.float32(sacral - 45)) / np.float32(60), 0.25, 1.0)
    erector = _ellipse(patch.side - 42, 29.0 * thin, patch.a + 54, 24.0 * thin, 3)
    multifidus = _ellipse(patch.side - 16, 13.5, patch.a + 55, 22.0 * thin, 3)
    quadratus = _ellipse(patch.side - 62, 10.0, patch.a + 22, 12.0, 2)
    upper = patch.s > sacral + 28
    muscle = (erector <= 1.0) & (multifidus > 1.15) | (multifidus <= 1.0) | (quadratus <= 1.0) & upper
    patch.paint(muscle, Tissue.MUSCLE)
    patch.paint(muscle & (_streaks(patch, anatomy, anatomy.streaks) > 0) & (patch.a < -36), Tissue.FAT)


def _ellipse(x: Field, half_x: float | Field, y: Field, half_y: float | Field, power: int) -> Field:
    return np.abs(x / half_x).astype(np.float32) ** power + np.abs(y / half_y).astype(np.float32) ** power


def _psoas(canvas: Canvas, anatomy: Anatomy) -> None:
    """Beside the bodies from T12, growing downwards and moving away from the midline."""
    top, bottom = anatomy.vertebrae[2].s, anatomy.vertebrae[FIRST_SACRAL + 2].s
    patch = canvas.box((-75, 75), (-30, 45), (bottom, top))
    if patch is None:
        return
    place = np.clip((np.float32(top) - patch.s) / np.float32(top - bottom), 0, 1)
    radius = np.float32(5.0) + np.float32(19.0) * np.minimum(place * np.float32(1.5), 1)
    centre = np.float32(22.0) + np.float32(24.0) * place ** np.float32(0.8)
    forward = np.float32(-5.0) + np.float32(22.0) * place**2
    muscle = _ellipse(patch.side - centre, radius * np.float32(0.85), patch.a - forward, radius, 2) <= 1.0
    patch.paint(muscle, Tissue.MUSCLE)
    patch.paint(muscle & (_streaks(patch, anatomy, 0.35 * anatomy.streaks) > 0), Tissue.FAT)


def _belly(canvas: Canvas, anatomy: Anatomy) -> None:
    """Bowel loops in fat, the liver and kidneys left as mixed tissue."""
    patch = canvas.box((-150, 150), (20, 115), (-170, 170))
    if patch is None:
        return
    phase = np.float32(anatomy.seed % 89)
    loops = (
        np.sin(patch.r * np.float32(0.13) + phase)
        + np.sin(patch.a * np.float32(0.17) + patch.s * np.float32(0.06))
        + np.sin(patch.s * np.float32(0.12) + patch.r * np.float32(0.05) + phase)
    )
    inner = (patch.a > 30) & (patch.a < 100) & (patch.side < 120)
    patch.paint(inner & (loops > np.float32(0.1)), Tissue.VISCERA)
    patch.paint(inner & (loops > np.float32(0.7)), Tissue.BOWEL)


def _vessels(canvas: Canvas, anatomy: Anatomy) -> None:
    """Aorta left and vena cava right of the midline, dividing in front of L4."""
    fork = anatomy.vertebrae[6].s
    patch = canvas.box((-45, 45), (10, 45), (fork - 80, 170))
    if patch is None:
        return
    below = np.maximum(np.float32(fork) - patch.s, 0)
    spread = np.float32(0.42) * below
    small = below > 0
    front = np.float32(26.0) - np.float32(0.10) * below
    for centre, radius in ((-9.0, 8.5), (12.0, 9.5)):
        wide = np.where(small, np.float32(6.0), np.float32(radius))
        side = np.float32(centre) + np.sign(centre) * spread
        ring = _ellipse(patch.r - side, wide, patch.a - front, wide * np.float32(0.85), 2)
        patch.paint(ring <= 1.0, Tissue.FLOWING_BLOOD)
