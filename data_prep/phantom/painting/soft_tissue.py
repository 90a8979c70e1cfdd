"""Painting everything around the spine: skin, fat, muscles, vessels, kidneys, what fills the belly, iliac bones."""

from __future__ import annotations

import numpy as np

from data_prep.phantom.curve import EXTENT, Field
from data_prep.phantom.painting import bones
from data_prep.phantom.painting.canvas import SIDES, Canvas, Patch, Tissue, cubed, squared
from data_prep.phantom.person import Anatomy
from data_prep.phantom.vertebrae import CENTRE, FIRST_LUMBAR, FIRST_SACRAL

FASCIA = -80.0
"""``a`` of the back of the erector muscles."""
FRONT = 125.0
"""``a`` of the front of the belly."""
HALF_WIDTH = 165.0
"""Half width of the body in mm."""
SKIN = 2.0
"""Thickness of the skin in mm."""
FAR = 4.0 * HALF_WIDTH
SLAB = 150_000
"""Samples painted at once: few enough to stay in the processor's cache."""


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """From the skin inwards, some slices at a time."""
    for slab in canvas.slabs(SLAB):
        _body_wall(slab, anatomy)
        _belly(slab, anatomy)
        _kidneys(slab, anatomy)
        _back_muscles(slab, anatomy)
        _quadratus(slab, anatomy)
        _psoas(slab, anatomy)
        _vessels(slab, anatomy)
        bones.paint_ilia(slab, anatomy)


def _body_wall(canvas: Canvas, anatomy: Anatomy) -> None:
    """Fat everywhere, with skin and air at its surface; the back has a furrow in the midline."""
    canvas.whole.tissue[:] = Tissue.FAT
    back = FASCIA - anatomy.fat
    behind = canvas.box((-FAR, FAR), (-FAR, FASCIA), (-EXTENT, EXTENT))
    if behind is not None:
        furrow = np.float32(min(7.0, 0.5 * anatomy.fat)) / (1.0 + squared(squared(behind.r, 16.0), 1.0))
        depth = behind.a - furrow - _curved(behind) - np.float32(back)
        behind.paint(depth < SKIN, Tissue.SKIN)
        behind.paint(depth < 0.0, Tissue.AIR)
    before = canvas.box((-FAR, FAR), (0.7 * FRONT, FAR), (-EXTENT, EXTENT))
    if before is not None:
        depth = np.float32(FRONT) - before.a - _curved(before)
        before.paint(depth < SKIN, Tissue.SKIN)
        before.paint(depth < 0.0, Tissue.AIR)


def _curved(patch: Patch) -> Field:
    """How far the flanks fall back from the surface at the midline, in mm."""
    across = patch.side * np.float32(1.0 / HALF_WIDTH)
    across *= across * across * np.float32(0.45 * HALF_WIDTH)
    return across


def _back_muscles(canvas: Canvas, anatomy: Anatomy) -> None:
    """Multifidus beside the spinous processes, and erector spinae beside it, in their fascia."""
    sacral = anatomy.vertebrae[FIRST_SACRAL].s
    patch = canvas.box((-82, 82), (FASCIA - 4, -8), (-160, 160))
    if patch is None:
        return
    thin = np.clip((patch.s - (sacral - 45.0)) / 70.0, 0.3, 1.0)
    deep = patch.a + 53.0 - np.float32(0.0075) * np.square(patch.side - np.float32(32.0))
    erector = cubed(patch.side - 40.0, 34.0 * thin) + cubed(deep, 27.0 * thin)
    multifidus = cubed(patch.side - 15.0, 13.0) + cubed(patch.a + 53.0, 27.0 * thin)
    apart = np.minimum(erector, multifidus)
    patch.paint((apart <= 1.08) & (patch.a < -50.0), Tissue.LIGAMENT)
    patch.paint(apart <= 1.0, Tissue.MUSCLE)


def _quadratus(canvas: Canvas, anatomy: Anatomy) -> None:
    """Quadratus lumborum, from the iliac crest upwards beside the transverse processes."""
    bottom = anatomy.vertebrae[FIRST_SACRAL].s + 28.0
    patch = canvas.box((-90, 90), (-36, -8), (bottom, 160))
    if patch is not None:
        muscle = squared(patch.side - 61.0 - 0.12 * (bottom - patch.s + 60.0), 16.0) + squared(patch.a + 23.0, 8.0)
        patch.paint((muscle <= 1.0) & (patch.s > bottom), Tissue.MUSCLE)


def _psoas(canvas: Canvas, anatomy: Anatomy) -> None:
    """Beside the bodies from L1 downwards, where it grows and moves away from the midline."""
    top, bottom = anatomy.vertebrae[FIRST_LUMBAR].s + 15.0, anatomy.vertebrae[FIRST_SACRAL + 2].s
    patch = canvas.box((-75, 75), (-30, 50), (bottom, top))
    if patch is None:
        return
    place = np.clip((top - patch.s) / (top - bottom), 0, 1)
    radius = 4.0 + 19.0 * np.minimum(place * 1.5, 1)
    centre = 23.0 + 22.0 * place
    forward = -7.0 + 24.0 * place * place
    ahead = patch.a - forward
    where = squared(patch.side - centre - 0.15 * ahead, 0.78 * radius) + squared(ahead, 1.05 * radius) <= 1.0
    patch.paint(where, Tissue.MUSCLE)


def _belly(canvas: Canvas, anatomy: Anatomy) -> None:
    """Bowel loops in fat."""
    patch = canvas.box((-125, 125), (30, 108), (-170, 170))
    if patch is None:
        return
    phase = np.float32(anatomy.seed % 89)
    bend = np.sin(np.float32(0.05) * patch.r + np.float32(0.07) * patch.a - np.float32(0.03) * patch.s + phase)
    loops = np.sin(np.float32(0.10) * patch.r + np.float32(0.03) * patch.s + np.float32(2.0) * bend)
    loops += np.sin(np.float32(0.12) * patch.a + np.float32(0.08) * patch.s - np.float32(1.6) * bend)
    loops *= np.float32(1.3)
    inner = squared(patch.a - 74.0, 36.0) + squared(patch.r, 122.0) < 1.0 + 0.12 * loops
    patch.paint(inner & (loops > 0.1), Tissue.VISCERA)
    patch.paint(inner & (loops > 0.75), Tissue.BOWEL)
    wall = squared(squared(patch.r, 135.0), 1.0) + squared(patch.a - 20.0, 92.0)
    patch.paint(np.abs(wall - 1.0) < 0.09, Tissue.MUSCLE)


def _kidneys(canvas: Canvas, anatomy: Anatomy) -> None:
    """Both kidneys from T12 to L3, the right one lower, with fat in the sinus."""
    for sign in SIDES:
        s = anatomy.vertebrae[FIRST_LUMBAR].s - (12.0 if sign > 0 else 0.0)
        extent = (24.0, 92.0) if sign > 0 else (-92.0, -24.0)
        patch = canvas.box(extent, (-28, 36), (s - 56, s + 56))
        if patch is None:
            continue
        above: Field = patch.s - np.float32(s)
        side: Field = patch.side - np.float32(61.0) + np.float32(0.12) * above
        kidney = squared(side, 27.0) + squared(patch.a - 4.0, 24.0) + squared(above, 54.0)
        patch.paint(kidney <= 1.0, Tissue.KIDNEY)
        sinus = squared(side + 9.0, 14.0) + squared(patch.a - 8.0, 8.0) + squared(above, 24.0)
        patch.paint(sinus <= 1.0, Tissue.FAT)


def _vessels(canvas: Canvas, anatomy: Anatomy) -> None:
    """Aorta left and vena cava right of the midline; both divide in front of L4."""
    fork = anatomy.vertebrae[CENTRE + 1].s
    for centre, radius in ((-9.0, 8.5), (12.0, 9.5)):
        extent = (centre - 34, centre + radius) if centre < 0 else (centre - radius, centre + 34)
        patch = canvas.box(extent, (4, 42), (fork - 80, 170))
        if patch is not None:
            _vessel(patch, centre, radius, fork)


def _vessel(patch: Patch, centre: float, radius: float, fork: float) -> None:
    below: Field = np.maximum(fork - patch.s, np.float32(0))
    wide: Field = np.maximum(np.float32(radius) - np.float32(0.15) * below, np.float32(5.5))
    side: Field = patch.r - (centre + float(np.sign(centre)) * 0.42 * below)
    flat = 0.7 if centre > 0 else 0.95
    ring = squared(side, wide) + squared(patch.a - (27.0 - 0.10 * below), flat * wide)
    patch.paint(ring <= 1.25, Tissue.SKIN)
    patch.paint(ring <= 1.0, Tissue.FLOWING_BLOOD)
