"""Painting the canal: epidural fat, ligaments, bulging discs, foramina, recesses, thecal sac and nerve roots.

This is where the measures of `disease` become anatomy. Each is drawn exactly: the sac is ``sac_ap`` mm deep at the
disc, the recess ``recess_width`` mm, the foramen's cross-section ``foramen_area`` mm².
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_prep.phantom.anatomy import CANAL_DEPTH, FIRST_LUMBAR, FIRST_SACRAL, Anatomy
from data_prep.phantom.bones import pedicle_height
from data_prep.phantom.canvas import Canvas, Field, Mask, Patch
from data_prep.phantom.tissue import Tissue
from monai_spine.geometry import Array
from monai_spine.spine import Group, Level, Side

FORAMEN_SIDE = 17.5
"""Distance of a foramen's middle from the midline."""
FORAMEN_REACH = (11.0, 26.0)
RECESS_SIDE = 9.5
RECESS_HALF = 4.2
"""Half width of a recess from side to side."""
RECESS_DROP = 2.0
"""The recess is judged this far below the middle of the disc."""
ROOT = 2.4
_SIGN = {Side.LEFT: -1.0, Side.RIGHT: 1.0}


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """From the walls inwards."""
    for level in Level:
        _foramina(canvas, anatomy, level)
    edges = _segments(anatomy)
    for upper, lower in zip(edges[:-1], edges[1:], strict=True):
        _canal(canvas, anatomy, lower, upper)
    for level in Level:
        _disc_level(canvas, anatomy, level)
    for upper, lower in zip(edges[:-1], edges[1:], strict=True):
        _sac(canvas, anatomy, lower, upper)


def _segments(anatomy: Anatomy) -> list[float]:
    """Heights that cut the canal into pieces no longer than a vertebra, from above."""
    return [body.s for body in anatomy.vertebrae]


def _profile(values: Array, start: float, patch: Patch) -> Field:
    """A table over ``s`` (from ``start``, in steps of half a millimetre) at the samples of a patch."""
    place = np.clip((patch.s - np.float32(start)) * np.float32(2.0), 0, len(values) - 1)
    return values.astype(np.float32)[(place + np.float32(0.5)).astype(np.intp).clip(0, len(values) - 1)]


def _heights(lower: float, upper: float) -> Array:
    return np.arange(lower - 8.0, upper + 8.5, 0.5)


def _between(patch: Patch, lower: float, upper: float) -> Mask:
    return (patch.s >= np.float32(lower)) & (patch.s < np.float32(upper))


def _canal(canvas: Canvas, anatomy: Anatomy, lower: float, upper: float) -> None:
    """The bony canal, filled with epidural fat."""
    back = float(anatomy.posterior_wall(np.array(lower)).min())
    patch = canvas.box((-14, 14), (back - 26, back + 6), (lower, upper))
    if patch is None:
        return
    heights = _heights(lower, upper)
    wall = _profile(anatomy.posterior_wall(heights), heights[0], patch)
    behind = (wall - patch.a) / np.float32(CANAL_DEPTH)
    inside = (behind > 0) & (np.abs(patch.side / np.float32(12.5)) ** 3 + np.abs(behind * 2 - 1) ** 3 <= 1.0)
    patch.paint(inside & _between(patch, lower, upper), Tissue.FAT)


def _disc_level(canvas: Canvas, anatomy: Anatomy, level: Level) -> None:
    """At a disc the canal is closed by the ligamenta flava and facets, with the two recesses left open."""
    disc = anatomy.level_disc(level)
    wall = float(anatomy.posterior_wall(np.array(disc.s)))
    patch = canvas.box((-16, 16), (wall - 26, wall + 4), (disc.s - 11, disc.s + 10))
    if patch is None:
        return
    behind = np.float32(wall) - patch.a
    along = patch.s - np.float32(disc.s)
    near = np.abs(along) < np.float32(9.0) - np.float32(0.12) * patch.side
    canal = (np.abs(patch.side / np.float32(13.5)) ** 3 + np.abs(behind / np.float32(10.0) - 1) ** 3 <= 1.0) & near
    patch.paint(canal & (behind > -1), Tissue.LIGAMENT)
    _bulge(patch, anatomy, level, behind, canal)
    _posterior_fat(patch, anatomy, level, behind, canal)
    for side in Side:
        _recess(patch, anatomy, level, side, wall)


def _bulge(patch: Patch, anatomy: Anatomy, level: Level, behind: Field, canal: Mask) -> None:
    """The disc beyond the posterior wall."""
    disc = anatomy.level_disc(level)
    heights = np.arange(disc.s - 14, disc.s + 14.5, 0.5)
    depth = _profile(anatomy.bulge(heights), heights[0], patch) + np.float32(0.4)
    depth = depth * np.exp(-((patch.side / np.float32(13.0)) ** 4))
    thick = np.abs(patch.s - np.float32(disc.s)) < np.float32(disc.height / 2 + 2.0)
    patch.paint((behind > -2) & (behind < depth) & thick & (patch.side < 13), Tissue.ANNULUS)


def _posterior_fat(patch: Patch, anatomy: Anatomy, level: Level, behind: Field, canal: Mask) -> None:
    """The fat pad behind the sac, which goes as the canal narrows."""
    sac = anatomy.measure(Group.SPINAL, None, level)
    pad = 1.6 * np.clip((sac - 7.0) / 8.0, 0.0, 1.0)
    if pad < 0.3:
        return
    shape = (patch.r / np.float32(4.0)) ** 2 + ((behind - np.float32(18.5 - pad)) / np.float32(pad)) ** 2
    patch.paint(canal & (shape <= 1.0), Tissue.FAT)


def recess_point(anatomy: Anatomy, level: Level, side: Side) -> Array:
    """Spine coordinates of the middle of a recess."""
    s = anatomy.level_disc(level).s - RECESS_DROP
    width = anatomy.measure(Group.SUBARTICULAR, side, level)
    wall = float(anatomy.posterior_wall(np.array(s)))
    return np.array([_SIGN[side] * RECESS_SIDE, wall - 0.8 - width / 2, s])


def _recess(patch: Patch, anatomy: Anatomy, level: Level, side: Side, wall: float) -> None:
    """A pocket of fat with the traversing root, as deep as its measure."""
    width = anatomy.measure(Group.SUBARTICULAR, side, level)
    r, a, s = recess_point(anatomy, level, side)
    across = (patch.r - np.float32(r)) / np.float32(RECESS_HALF)
    deep = (patch.a - np.float32(a)) / np.float32(width / 2)
    along = (patch.s - np.float32(s)) / np.float32(9.5)
    patch.paint(np.abs(across) ** 3 + np.abs(deep) ** 3 + np.abs(along) ** 6 <= 1.0, Tissue.FAT)
    root = min(ROOT * 0.75, 0.42 * width)
    ring = (patch.r - np.float32(r + 0.1 * (patch.s - s).mean())) ** 2 + (patch.a - np.float32(a)) ** 2
    patch.paint((ring <= np.float32(root**2)) & (np.abs(along) <= 1), Tissue.NERVE)


def foramen_point(anatomy: Anatomy, level: Level, side: Side) -> Array:
    """Spine coordinates of the middle of a foramen."""
    low, high = _foramen_span(anatomy, level)
    s = (low + high) / 2
    wall = float(anatomy.posterior_wall(np.array(s)))
    return np.array([_SIGN[side] * FORAMEN_SIDE, wall - 5.0, s])


def _foramen_span(anatomy: Anatomy, level: Level) -> tuple[float, float]:
    """Heights between the pedicles below and above."""
    upper = FIRST_LUMBAR + list(Level).index(level)
    return pedicle_height(anatomy.vertebrae[upper + 1]) + 7.0, pedicle_height(anatomy.vertebrae[upper]) - 7.0


def foramen_shape(area: float, height: float) -> tuple[float, float]:
    """Half height and half width (mm) of an ellipse of ``area`` in a foramen ``height`` mm high."""
    half_height = 0.5 * height * (0.6 + 0.4 * min(1.0, np.sqrt(area / 135.0)))
    return half_height, area / (np.pi * half_height)


def _foramina(canvas: Canvas, anatomy: Anatomy, level: Level) -> None:
    """Per side: a wall of ligament and capsule, the fat that is left in it, and the root under the pedicle."""
    low, high = _foramen_span(anatomy, level)
    for side in Side:
        r, a, s = foramen_point(anatomy, level, side)
        reach = tuple(sorted(_SIGN[side] * edge for edge in FORAMEN_REACH))
        patch = canvas.box((reach[0], reach[1]), (a - 8, a + 8), (low - 2, high + 2))
        if patch is None:
            continue
        tunnel = (patch.side > FORAMEN_REACH[0]) & (patch.side < FORAMEN_REACH[1])
        half = (high - low) / 2
        wall = _oval(patch, a, s, half - 0.5, 5.2)
        patch.paint(tunnel & (wall <= 1.0), Tissue.LIGAMENT)
        area = anatomy.measure(Group.FORAMINAL, side, level)
        half_height, half_width = foramen_shape(area, high - low)
        middle = high - 0.3 - half_height
        patch.paint(tunnel & (_oval(patch, a, middle, half_height, half_width) <= 1.0), Tissue.FAT)
        drop = np.float32(0.25) * (patch.side - np.float32(FORAMEN_SIDE))
        root = _oval(patch, a, high - 5.5 - drop, ROOT + 0.4, ROOT)
        patch.paint(tunnel & (root <= 1.0), Tissue.NERVE)


def _oval(patch: Patch, a: float, s: float | Field, half_height: float, half_width: float) -> npt.NDArray[np.float32]:
    """Squared radial fraction of an ellipse in the sagittal plane."""
    across = ((patch.a - np.float32(a)) / np.float32(half_width)) ** 2
    return across + ((patch.s - np.asarray(s, dtype=np.float32)) / np.float32(half_height)) ** 2


def canal_point(anatomy: Anatomy, level: Level) -> Array:
    """Spine coordinates of the middle of the sac at a disc."""
    s = np.array(anatomy.level_disc(level).s)
    return np.array([0.0, float(anatomy.sac_front(s) - anatomy.sac_ap(s) / 2), float(s)])


def _sac(canvas: Canvas, anatomy: Anatomy, lower: float, upper: float) -> None:
    """Cerebrospinal fluid with cord, conus and roots."""
    heights = _heights(lower, upper)
    front, depth = anatomy.sac_front(heights), anatomy.sac_ap(heights)
    patch = canvas.box((-13, 13), (float((front - depth).min()) - 2, float(front.max()) + 2), (lower, upper))
    if patch is None or upper < anatomy.vertebrae[FIRST_SACRAL + 1].s - 6:
        return
    half = _profile(depth / 2, heights[0], patch)
    width = _profile(_sac_half_width(depth), heights[0], patch)
    across = patch.r / width
    back = (_profile(front, heights[0], patch) - half - patch.a) / half
    inside = (across**2 + np.abs(back) ** np.float32(2.3) <= 1.0) & _between(patch, lower, upper)
    patch.paint(inside, Tissue.CSF)
    _roots(patch, anatomy, half, width, inside)
    _cord(patch, anatomy, width, half, back)


def _sac_half_width(depth: Array) -> Array:
    """A narrowed sac is also slimmer."""
    return np.interp(depth, [0.3, 4.0, 9.0, 16.0], [0.8, 5.8, 8.0, 9.0])


def _roots(patch: Patch, anatomy: Anatomy, half: Field, width: Field, inside: Mask) -> None:
    """Roots of the cauda equina: two rows behind, of constant size, so that they fill a narrow sac."""
    below = inside & (patch.s < np.float32(anatomy.conus + 4))
    thick = np.float32(0.75**2)
    back = -patch.a
    for i in range(10):
        side, depth = -0.72 + 0.16 * i, 0.58 - 0.75 * abs(-0.72 + 0.16 * i) ** 2 + 0.16 * (-1) ** i
        wave = np.float32(0.05) * np.sin(patch.s * np.float32(0.09) + np.float32(i))
        centre = _sac_middle_back(patch, anatomy) + (np.float32(depth) + wave) * half * np.float32(0.9)
        ring = (patch.r - np.float32(side) * width) ** 2 + (back - centre) ** 2
        patch.paint(below & (ring <= thick), Tissue.NERVE)


def _sac_middle_back(patch: Patch, anatomy: Anatomy) -> Field:
    """``-a`` of the sac's middle at the samples of a patch."""
    low, high = float(patch.s.min()), float(patch.s.max())
    heights = _heights(low, high)
    return _profile(anatomy.sac_ap(heights) / 2 - anatomy.sac_front(heights), heights[0], patch)


def _cord(patch: Patch, anatomy: Anatomy, width: Field, half: Field, back: Field) -> None:
    """The cord, tapering to the conus."""
    taper = np.sqrt(np.clip((patch.s - np.float32(anatomy.conus)) / np.float32(22.0), 0, 1))
    across, deep = patch.r / np.float32(4.6), (back - np.float32(0.12)) * half / np.float32(3.6)
    patch.paint((taper > 0.05) & (across**2 + deep**2 <= taper**2), Tissue.CORD)
