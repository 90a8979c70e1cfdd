"""Painting the canal: epidural fat, ligaments, bulging discs, foramina, recesses, thecal sac and nerve roots.

Here the measures of `disease` become anatomy. Each is drawn exactly: the sac is ``sac_ap`` mm deep at the disc, the
recess is ``recess_width`` mm deep, fat and root of the foramen have together ``foramen_area`` mm².
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data_prep.phantom.curve import Field
from data_prep.phantom.painting.canvas import Canvas, Mask, Patch, Tissue, cubed, speckle, squared
from data_prep.phantom.person import CANAL_DEPTH, FIRST_LUMBAR, FORAMEN_SIDE, SIGN, Anatomy
from monai_spine.geometry import Array
from monai_spine.spine import Group, Level, Side

STEP = 0.25
"""Distance between the heights of `Profiles` in mm."""
FORAMEN_EXTENT = (11.0, 26.0)
"""A foramen runs sideways from here to there, in mm from the midline."""
PEDICLE = 7.0
"""A foramen ends this far from the middles of the pedicles above and below it, in mm."""
RECESS_HALF = 4.2
"""Half width of a recess from side to side, in mm."""
ROOT = 2.4
"""Radius of a nerve root in its foramen, in mm."""
STRAND = 0.75
"""Radius of a root of the cauda equina, in mm."""


@dataclass(frozen=True)
class Profiles:
    """The canal along the spine as tables over height: to look a value up is faster than to compute it."""

    start: float
    """Height of the first row in mm; the rows are `STEP` mm apart."""
    wall: Field
    """``a`` of the posterior wall."""
    front: Field
    """``a`` of the front of the thecal sac."""
    half_depth: Field
    half_width: Field
    """Half the depth and half the width of the sac in mm."""
    bulge: Field
    """How far the discs push the sac back, in mm."""

    @classmethod
    def of(cls, anatomy: Anatomy) -> Profiles:
        """The tables of a person, from the lowest vertebra to the highest."""
        start, stop = anatomy.vertebrae[-1].s - 20.0, anatomy.vertebrae[0].s + 20.0
        s = np.arange(start, stop, STEP)
        depth = anatomy.sac_ap(s)
        tables = (
            anatomy.posterior_wall(s),
            anatomy.sac_front(s),
            depth / 2,
            _half_width(depth),
            anatomy.bulge(s),
        )
        return cls(start, *(table.astype(np.float32) for table in tables))

    def rows(self, s: Field) -> np.ndarray:
        """The rows of the tables at heights ``s``."""
        place = (s - np.float32(self.start)) * np.float32(1 / STEP) + np.float32(0.5)
        return np.clip(place, 0, len(self.wall) - 1).astype(np.int32)


def _half_width(depth: Array) -> Array:
    """Half width of a sac of some depth: a narrowed sac is also slimmer."""
    return np.interp(depth, [0.3, 4.0, 9.0, 16.0], [0.8, 5.8, 8.0, 9.0])


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """The walls first, the contents last."""
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
    """At a disc, ligamenta flava and facets close the canal; the two recesses stay open."""
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
    """The fat pad behind the sac, which shrinks and vanishes as the canal narrows."""
    pad = 1.6 * float(np.clip((anatomy.measure(Group.SPINAL, None, level) - 7.0) / 8.0, 0.0, 1.0))
    if pad < 0.3:
        return
    shape = squared(patch.r, 4.0) + squared(behind - (CANAL_DEPTH - pad), pad)
    patch.paint(canal & (shape <= 1.0), Tissue.FAT)


def _recess(patch: Patch, anatomy: Anatomy, level: Level, side: Side) -> None:
    """A pocket of fat with the traversing root; its depth is the measure."""
    width = anatomy.measure(Group.SUBARTICULAR, side, level)
    r, a, s = anatomy.recess_point(level, side).tolist()
    along = squared(patch.s - s, 9.5)
    pocket = cubed(patch.r - r, RECESS_HALF) + cubed(patch.a - a, width / 2) + along * along * along
    patch.paint(pocket <= 1.0, Tissue.FAT)
    root = min(0.75 * ROOT, 0.42 * width)
    ring = squared(patch.r - r, root) + squared(patch.a - a, root)
    patch.paint((ring <= 1.0) & (along <= 1.0), Tissue.NERVE)


def _foramen_shape(area: float, height: float) -> tuple[float, float]:
    """Half height and half width (mm) of an ellipse of ``area`` in a foramen ``height`` mm high."""
    half_height = 0.5 * height * (0.6 + 0.4 * min(1.0, float(np.sqrt(area / 135.0))))
    return half_height, area / (np.pi * half_height)


def _foramina(canvas: Canvas, anatomy: Anatomy, level: Level) -> None:
    """Both foramina of a level."""
    upper = FIRST_LUMBAR + list(Level).index(level)
    low, high = anatomy.vertebrae[upper + 1].pedicle + PEDICLE, anatomy.vertebrae[upper].pedicle - PEDICLE
    for side in Side:
        _, a, s = anatomy.foramen_point(level, side).tolist()
        near, far = sorted(SIGN[side] * edge for edge in FORAMEN_EXTENT)
        patch = canvas.box((near, far), (a - 7, a + 6), (low, high))
        if patch is not None:
            _foramen(patch, anatomy.measure(Group.FORAMINAL, side, level), a, s, high - low)


def _foramen(patch: Patch, area: float, a: float, s: float, height: float) -> None:
    """A wall of ligament and capsule, the remaining fat, and the root under the pedicle."""
    tunnel = (patch.side > FORAMEN_EXTENT[0]) & (patch.side < FORAMEN_EXTENT[1])
    across, top = patch.a - a, s + height / 2
    ends = squared(squared(patch.side - FORAMEN_SIDE, 6.8), 1.0)
    wall = cubed(across + 0.7, 5.9) + cubed(patch.s - s, height / 2) + ends * ends
    patch.paint(tunnel & (wall <= 1.0), Tissue.LIGAMENT)
    half_height, half_width = _foramen_shape(area, height)
    fat = squared(across, half_width) + squared(patch.s - (top - 0.3 - half_height), half_height)
    patch.paint(tunnel & (fat <= 1.0), Tissue.FAT)
    drop = 0.25 * (patch.side - FORAMEN_SIDE)
    root = squared(across, ROOT) + squared(patch.s - (top - 5.5 - drop), ROOT + 0.4)
    patch.paint(tunnel & (root <= 1.0), Tissue.NERVE)


def _sac(canvas: Canvas, anatomy: Anatomy, profiles: Profiles, piece: tuple[float, float]) -> None:
    """Cerebrospinal fluid with cord, conus and roots."""
    patch = _box(canvas, profiles, 9.5, piece)
    if patch is None:
        return
    rows = profiles.rows(patch.s)
    half = profiles.half_depth[rows]
    back = (profiles.front[rows] - half - patch.a) / half
    inside = (squared(patch.r, profiles.half_width[rows]) + back * back <= 1.0) & _between(patch, piece)
    if not inside.any():
        return
    # The contents are many structures, so they are computed for the few samples inside the sac alone.
    r, s, back, half = patch.r[inside], patch.s[inside], back[inside], half[inside]
    width = profiles.half_width[rows[inside]]
    content = np.full(len(r), Tissue.CSF, dtype=np.uint8)
    if anatomy.variants.pulsating:
        content[_flowing(r / width, back, s - anatomy.conus)] = Tissue.FLOWING_CSF
    content[_strands(r / width, back, s, width, half) & (s < anatomy.conus + 4.0)] = Tissue.NERVE
    content[_cord(r, back * half, s - anatomy.conus)] = Tissue.CORD
    patch.tissue[inside] = content


def _strands(across: Field, back: Field, s: Field, width: Field, half: Field) -> Mask:
    """Roots of the cauda equina: two rows at the back. Their size is constant, so they fill a narrow sac."""
    strands = np.zeros(len(s), dtype=bool)
    for i in range(10):
        side = -0.72 + 0.16 * i
        depth = 0.52 - 0.68 * side * side + 0.14 * (-1) ** i
        centre = depth + 0.045 * np.sin(0.09 * s + i)
        strands |= squared((across - side) * width, STRAND) + squared((back - centre) * half, STRAND) <= 1.0
    return strands


def _cord(r: Field, back: Field, above: Field) -> Mask:
    """The cord, which tapers to the conus over 22 mm; ``above`` is the height above its tip."""
    taper = np.clip(above / 22.0, 0, 1)
    return (taper > 0) & (squared(r, 4.6) + squared(back - 0.8, 3.6) <= taper)


def _flowing(across: Field, back: Field, above: Field) -> Mask:
    """Where fluid moves fast: clouds well inside the sac, more of them around the cord than below it."""
    depth = np.maximum(np.abs(across), np.abs(back))
    waves = np.sin(0.11 * above) + np.sin(0.047 * above + 2.0 * across) + np.sin(2.3 * across + 1.4 * back)
    waves -= 1.6 * squared(depth, 0.8) + np.float32(0.2) - 0.012 * np.clip(above, -60, 60)
    return np.asarray((depth < 0.85) & (waves + 1.6 * speckle(across, back, above) > 0.0), dtype=np.bool_)
