"""Painting the canal: epidural fat, ligaments, bulging discs, foramina, recesses, thecal sac and nerve roots.

This is where the measures of `disease` become anatomy. Each is drawn exactly: the sac is ``sac_ap`` mm deep at the
disc, the recess ``recess_width`` mm, the fat and root of the foramen together ``foramen_area`` mm².
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from data_prep.phantom.anatomy import CANAL_DEPTH, FIRST_LUMBAR, Anatomy
from data_prep.phantom.arch import pedicle_height
from data_prep.phantom.canvas import Canvas, Field, Mask, Patch, cubed, speckle, squared
from data_prep.phantom.profiles import Profiles
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
"""Radius of a nerve root in its foramen."""
STRAND = 0.75
"""Radius of a root of the cauda equina."""
_SIGN = {Side.LEFT: -1.0, Side.RIGHT: 1.0}


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """From the walls inwards."""
    profiles = Profiles.of(anatomy)
    pieces = [(lower.s, upper.s) for upper, lower in pairwise(anatomy.vertebrae)]
    for level in Level:
        _foramina(canvas, anatomy, level)
    for piece in pieces:
        _canal(canvas, profiles, piece)
    for level in Level:
        _disc_level(canvas, anatomy, profiles, level)
    for piece in pieces:
        if piece[1] > anatomy.vertebra("S2").s:
            _sac(canvas, anatomy, profiles, piece)


def _box(canvas: Canvas, profiles: Profiles, half: float, piece: tuple[float, float]) -> Patch | None:
    """The samples around a piece of the canal."""
    walls = profiles.wall[profiles.rows(np.array(piece, dtype=np.float32))]
    return canvas.box((-half, half), (float(walls.min()) - CANAL_DEPTH - 2, float(walls.max()) + 2), piece)


def _between(patch: Patch, piece: tuple[float, float]) -> Mask:
    return (patch.s >= np.float32(piece[0])) & (patch.s < np.float32(piece[1]))


def _canal(canvas: Canvas, profiles: Profiles, piece: tuple[float, float]) -> None:
    """The bony canal, filled with epidural fat."""
    patch = _box(canvas, profiles, 12.5, piece)
    if patch is None:
        return
    behind = profiles.wall[profiles.rows(patch.s)] - patch.a
    inside = cubed(patch.r, 12.5) + cubed(behind - CANAL_DEPTH / 2, CANAL_DEPTH / 2) <= 1.0
    patch.paint(inside & _between(patch, piece), Tissue.FAT)


def _disc_level(canvas: Canvas, anatomy: Anatomy, profiles: Profiles, level: Level) -> None:
    """At a disc the canal is closed by the ligamenta flava and facets, with the two recesses left open."""
    disc = anatomy.level_disc(level)
    patch = _box(canvas, profiles, 14.0, (disc.s - 11.0, disc.s + 10.0))
    if patch is None:
        return
    behind = anatomy.wall(disc.s) - patch.a
    along = np.abs(patch.s - disc.s)
    canal = (cubed(patch.r, 13.5) + cubed(behind - 10.0, 10.0) <= 1.0) & (along < 9.0 - 0.12 * patch.side)
    patch.paint(canal & (behind > -1), Tissue.LIGAMENT)
    bulge = (profiles.bulge[profiles.rows(patch.s)] + 0.4) * np.exp(-squared(squared(patch.r, 13.0), 1.0))
    thick = (along < disc.height / 2 + 2.0) & (patch.side < 13.0)
    patch.paint((behind > -2) & (behind < bulge) & thick, Tissue.ANNULUS)
    _posterior_fat(patch, anatomy, level, behind, canal)
    for side in Side:
        _recess(patch, anatomy, level, side)


def _posterior_fat(patch: Patch, anatomy: Anatomy, level: Level, behind: Field, canal: Mask) -> None:
    """The fat pad behind the sac, which goes as the canal narrows."""
    pad = 1.6 * float(np.clip((anatomy.measure(Group.SPINAL, None, level) - 7.0) / 8.0, 0.0, 1.0))
    if pad < 0.3:
        return
    shape = squared(patch.r, 4.0) + squared(behind - (CANAL_DEPTH - pad), pad)
    patch.paint(canal & (shape <= 1.0), Tissue.FAT)


def recess_point(anatomy: Anatomy, level: Level, side: Side) -> Array:
    """Spine coordinates of the middle of a recess."""
    s = anatomy.level_disc(level).s - RECESS_DROP
    width = anatomy.measure(Group.SUBARTICULAR, side, level)
    return np.array([_SIGN[side] * RECESS_SIDE, anatomy.wall(s) - 0.8 - width / 2, s])


def _recess(patch: Patch, anatomy: Anatomy, level: Level, side: Side) -> None:
    """A pocket of fat with the traversing root, as deep as its measure."""
    width = anatomy.measure(Group.SUBARTICULAR, side, level)
    r, a, s = recess_point(anatomy, level, side).tolist()
    along = squared(patch.s - s, 9.5)
    pocket = cubed(patch.r - r, RECESS_HALF) + cubed(patch.a - a, width / 2) + along * along * along
    patch.paint(pocket <= 1.0, Tissue.FAT)
    root = min(0.75 * ROOT, 0.42 * width)
    ring = squared(patch.r - r, root) + squared(patch.a - a, root)
    patch.paint((ring <= 1.0) & (along <= 1.0), Tissue.NERVE)


def _foramen_span(anatomy: Anatomy, level: Level) -> tuple[float, float]:
    """Heights between the pedicles below and above."""
    upper = FIRST_LUMBAR + list(Level).index(level)
    return pedicle_height(anatomy.vertebrae[upper + 1]) + 7.0, pedicle_height(anatomy.vertebrae[upper]) - 7.0


def foramen_point(anatomy: Anatomy, level: Level, side: Side) -> Array:
    """Spine coordinates of the middle of a foramen."""
    s = sum(_foramen_span(anatomy, level)) / 2
    return np.array([_SIGN[side] * FORAMEN_SIDE, anatomy.wall(s) - 5.0, s])


def foramen_shape(area: float, height: float) -> tuple[float, float]:
    """Half height and half width (mm) of an ellipse of ``area`` in a foramen ``height`` mm high."""
    half_height = 0.5 * height * (0.6 + 0.4 * min(1.0, float(np.sqrt(area / 135.0))))
    return half_height, area / (np.pi * half_height)


def _foramina(canvas: Canvas, anatomy: Anatomy, level: Level) -> None:
    """Both foramina of a level."""
    for side in Side:
        _, a, s = foramen_point(anatomy, level, side).tolist()
        low, high = _foramen_span(anatomy, level)
        near, far = sorted(_SIGN[side] * edge for edge in FORAMEN_REACH)
        patch = canvas.box((near, far), (a - 7, a + 6), (low, high))
        if patch is not None:
            _foramen(patch, anatomy.measure(Group.FORAMINAL, side, level), a, s, high - low)


def _foramen(patch: Patch, area: float, a: float, s: float, height: float) -> None:
    """A wall of ligament and capsule, the fat that is left in it, and the root under the pedicle."""
    tunnel = (patch.side > FORAMEN_REACH[0]) & (patch.side < FORAMEN_REACH[1])
    across, top = patch.a - a, s + height / 2
    ends = squared(squared(patch.side - FORAMEN_SIDE, 6.8), 1.0)
    wall = cubed(across + 0.7, 5.9) + cubed(patch.s - s, height / 2) + ends * ends
    patch.paint(tunnel & (wall <= 1.0), Tissue.LIGAMENT)
    half_height, half_width = foramen_shape(area, height)
    fat = squared(across, half_width) + squared(patch.s - (top - 0.3 - half_height), half_height)
    patch.paint(tunnel & (fat <= 1.0), Tissue.FAT)
    drop = 0.25 * (patch.side - FORAMEN_SIDE)
    root = squared(across, ROOT) + squared(patch.s - (top - 5.5 - drop), ROOT + 0.4)
    patch.paint(tunnel & (root <= 1.0), Tissue.NERVE)


def canal_point(anatomy: Anatomy, level: Level) -> Array:
    """Spine coordinates of the middle of the sac at a disc."""
    s = np.array(anatomy.level_disc(level).s)
    return np.array([0.0, float(anatomy.sac_front(s) - anatomy.sac_ap(s) / 2), float(s)])


def _sac(canvas: Canvas, anatomy: Anatomy, profiles: Profiles, piece: tuple[float, float]) -> None:
    """Cerebrospinal fluid with cord, conus and roots; the content is computed inside the sac only."""
    patch = _box(canvas, profiles, 9.5, piece)
    if patch is None:
        return
    rows = profiles.rows(patch.s)
    half = profiles.half_depth[rows]
    back = (profiles.front[rows] - half - patch.a) / half
    inside = (squared(patch.r, profiles.half_width[rows]) + back * back <= 1.0) & _between(patch, piece)
    if not inside.any():
        return
    r, s, back, half = patch.r[inside], patch.s[inside], back[inside], half[inside]
    width = profiles.half_width[rows[inside]]
    content = np.full(len(r), Tissue.CSF, dtype=np.uint8)
    if anatomy.variants.pulsating:
        content[_flowing(r / width, back, s - anatomy.conus)] = Tissue.FLOWING_CSF
    content[_strands(r / width, back, s, width, half) & (s < anatomy.conus + 4.0)] = Tissue.NERVE
    content[_cord(r, back * half, s - anatomy.conus)] = Tissue.CORD
    patch.tissue[inside] = content


def _strands(across: Field, back: Field, s: Field, width: Field, half: Field) -> Mask:
    """Roots of the cauda equina: two rows behind, of constant size, so that they fill a narrow sac."""
    strands = np.zeros(len(s), dtype=bool)
    for i in range(10):
        side = -0.72 + 0.16 * i
        depth = 0.52 - 0.68 * side * side + 0.14 * (-1) ** i
        centre = depth + 0.045 * np.sin(0.09 * s + i)
        strands |= squared((across - side) * width, STRAND) + squared((back - centre) * half, STRAND) <= 1.0
    return strands


def _cord(r: Field, back: Field, above: Field) -> Mask:
    """The cord, tapering to the conus over 22 mm; ``above`` is the height over its tip."""
    taper = np.clip(above / 22.0, 0, 1)
    return (taper > 0) & (squared(r, 4.6) + squared(back - 0.8, 3.6) <= taper)


def _flowing(across: Field, back: Field, above: Field) -> Mask:
    """Where fluid moves fast: clouds well inside the sac, more of them around the cord than below it."""
    depth = np.maximum(np.abs(across), np.abs(back))
    waves = np.sin(0.11 * above) + np.sin(0.047 * above + 2.0 * across) + np.sin(2.3 * across + 1.4 * back)
    waves -= 1.6 * squared(depth, 0.8) + np.float32(0.2) - 0.012 * np.clip(above, -60, 60)
    return np.asarray((depth < 0.85) & (waves + 1.6 * speckle(across, back, above) > 0.0), dtype=np.bool_)
