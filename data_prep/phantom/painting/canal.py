"""Painting the canal: epidural fat, ligaments, bulging discs, foramina, recesses, thecal sac and nerve roots.

Here the measures of `disease` become anatomy. Each is drawn exactly: the sac is ``sac_ap`` mm deep at the disc, the
recess is ``recess_width`` mm deep, fat and root of the foramen have together ``foramen_area`` mm².
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from data_prep.phantom.canal_shape import CanalShape
from data_prep.phantom.curve import Field
from data_prep.phantom.foramen_shape import ForamenShape
from data_prep.phantom.lesions import Cyst, Hernia
from data_prep.phantom.painting.canvas import Canvas, Mask, Patch, Tissue, speckle, squared
from data_prep.phantom.person import SIGN, Anatomy
from data_prep.phantom.vertebrae import FIRST_LUMBAR, FIRST_SACRAL
from monai_spine.spine import Group, Level, Side

DEEPEST = 27.0
"""No canal is deeper than this, in mm."""
FLAVUM = 3.6
"""Thickness of a ligamentum flavum in mm."""
ROOT = (2.0, 2.5)
"""Half depth and half height of a root in its foramen, in mm: Silverstein (ganglia 4.4 to 5.8 mm wide)."""
TRAVERSING = 1.8
"""Radius of a root in its recess."""
STRANDS = (18, 16, 14, 12, 9)
"""Roots in the sac at the graded levels."""


def paint(canvas: Canvas, anatomy: Anatomy) -> None:
    """The walls first, the contents last."""
    shape = anatomy.canal
    pieces = [(lower.s, upper.s) for upper, lower in pairwise(anatomy.vertebrae)]
    for (_, side), foramen in anatomy.foramina.items():
        _foramen(canvas, anatomy, SIGN[side], foramen)
    for piece in pieces:
        _canal(canvas, shape, piece)
    for level in Level:
        _disc_level(canvas, anatomy, level)
    for cyst in anatomy.lesions.cysts:
        _cyst(canvas, anatomy, cyst)
    for i, piece in enumerate(pieces):
        if piece[1] > anatomy.vertebra("S2").s:
            graded = FIRST_LUMBAR <= i < FIRST_SACRAL
            _sac(canvas, anatomy, piece, list(Level)[i - FIRST_LUMBAR] if graded else None)


def _box(canvas: Canvas, shape: CanalShape, half: float, piece: tuple[float, float]) -> Patch | None:
    """The samples around a piece of the canal."""
    walls = shape.wall[shape.rows(np.array(piece, dtype=np.float32))]
    return canvas.box((-half, half), (float(walls.min()) - DEEPEST, float(walls.max()) + 2), piece)


def _between(patch: Patch, piece: tuple[float, float]) -> Mask:
    return (patch.s >= np.float32(piece[0])) & (patch.s < np.float32(piece[1]))


def _roof(patch: Patch, shape: CanalShape, rows: np.ndarray) -> Field:
    """Where the canal ends behind the posterior wall: a V, which falls to the depth of the recesses at the sides.

    Flava and facets follow the sac where it is narrowed; behind its middle lies the triangle of fat.
    """
    left = patch.r < 0
    recess = np.where(left, shape.recess[rows, 0], shape.recess[rows, 1]) + np.float32(0.4)
    recess += np.where(left, shape.beside[rows, 0], shape.beside[rows, 1])
    place = np.minimum(patch.side * np.float32(1 / 9.5), np.float32(1.0))
    roof, front, depth, width = shape.roof[rows], shape.front[rows], shape.depth[rows], shape.half_width[rows]
    plate = roof - (roof - recess) * place * (0.4 + 0.6 * place * place * place)
    across = np.minimum(squared(patch.r, width), 1.0)
    near = front + np.float32(0.5) + depth * (0.5 + 0.5 * np.sqrt(1.0 - across)) ** (1.0 / shape.pointed[rows])
    near += (roof - front - depth - np.float32(0.5)) * np.maximum(np.float32(1.0) - squared(patch.r, 5.0), 0.0)
    near += np.float32(3.0) * np.maximum(patch.side - width, 0.0)
    return np.asarray(np.minimum(plate, near), dtype=np.float32)


def _canal(canvas: Canvas, shape: CanalShape, piece: tuple[float, float]) -> None:
    """Epidural fat within laminae and ligamenta flava."""
    patch = _box(canvas, shape, 14.5, piece)
    if patch is None:
        return
    rows = shape.rows(patch.s)
    behind = shape.wall[rows] - patch.a
    roof = _roof(patch, shape, rows)
    near = _between(patch, piece) & (behind > 0.3)
    beside = np.float32(13.0) - np.float32(1.8) * squared(behind - 4.0, 9.0)
    flavum = near & (behind < roof + FLAVUM) & (patch.side < beside + 1.5) & ~(_is_bone(patch) & (behind > roof + 0.8))
    patch.paint(flavum, Tissue.LIGAMENT)
    patch.paint(near & (behind < roof) & (patch.side < beside), Tissue.FAT)


def _is_bone(patch: Patch) -> Mask:
    return np.asarray((patch.tissue == Tissue.MARROW) | (patch.tissue == Tissue.CORTEX), dtype=np.bool_)


def _disc_level(canvas: Canvas, anatomy: Anatomy, level: Level) -> None:
    """At a disc: what bulges into the canal, and the recesses with their roots."""
    shape, disc = anatomy.canal, anatomy.level_disc(level)
    s = shape.level_height(level)
    patch = _box(canvas, shape, 15.0, (s - 20.0, s + 11.0))
    if patch is None:
        return
    rows = shape.rows(patch.s)
    behind = shape.wall[rows] - patch.a
    hernia = anatomy.lesions.hernias[list(Level).index(level)]
    bulge = shape.standing_out(patch.r, rows, hernia)
    thick = np.abs(patch.s - np.float32(s)) < disc.height / 2 + 2.0 + 0.8 * speckle(patch.r, patch.a, patch.s)
    patch.paint((behind > -2) & (behind < bulge) & thick & (patch.side < 13.5), Tissue.ANNULUS)
    if hernia is not None:
        number = Tissue.NUCLEUS + FIRST_LUMBAR + list(Level).index(level)
        core = squared(patch.r - np.float32(hernia.side), 0.7 * hernia.half_width)
        core += np.square((behind + np.float32(3.0)) / np.maximum(bulge + 2.0, 1.0))
        core += squared(patch.s - np.float32(s), disc.height / 2 + 1.0)
        patch.paint((core <= 1.0) & ~_is_bone(patch), number)
        fragment = _fragment(patch, shape, level, hernia, behind)
        patch.paint((fragment <= 1.0) & ~_is_bone(patch), Tissue.ANNULUS)
        patch.paint((fragment <= 0.5) & ~_is_bone(patch), number)
    for side in Side:
        _recess(patch, anatomy, level, side)


def _fragment(patch: Patch, shape: CanalShape, level: Level, hernia: Hernia, behind: Field) -> Field:
    """Squared radius of what has left a disc and lies behind the body above or below it; 1 on its surface."""
    if not hernia.migration:
        return np.full_like(patch.s, 9.0)
    s, half = shape.level_height(level), abs(hernia.migration) / 2 + 1.0
    # It is as deep as the herniation that it came from, and lies against the wall.
    deep = 0.45 * shape.at(shape.bulge, s) * hernia.share
    across = squared(patch.r - np.float32(hernia.side), 0.8 * hernia.half_width)
    along = squared(patch.s - np.float32(s + hernia.migration / 2), half)
    return np.asarray(across + along + squared(behind - np.float32(deep + 0.2), deep + 0.5), dtype=np.float32)


def _cyst(canvas: Canvas, anatomy: Anatomy, cyst: Cyst) -> None:
    """Fluid in a dark wall: in the fat and the flavum behind the sac, or in the muscle behind the joint."""
    s = anatomy.canal.level_height(cyst.level) + 3.0
    sign, radius = SIGN[cyst.side], cyst.radius
    side = 6.0 if cyst.in_canal else 17.0
    roof = anatomy.canal.at(anatomy.canal.roof, s)
    a = anatomy.canal.at(anatomy.canal.wall, s) - (roof - 0.5 if cyst.in_canal else roof + 12.0)
    near, far = sorted((sign * (side - radius), sign * (side + radius)))
    patch = canvas.box((near, far), (a - radius, a + radius), (s - 6, s + 6))
    if patch is None:
        return
    ball = squared(patch.side - np.float32(side), radius) + squared(patch.a - np.float32(a), radius)
    ball += squared(patch.s - np.float32(s), 1.3 * radius)
    here = (ball <= 1.0) & (patch.r * np.float32(sign) > 0) & ~_is_bone(patch)
    patch.paint(here, Tissue.LIGAMENT)
    patch.paint(here & (ball <= 0.6), Tissue.FLUID)


def _recess(patch: Patch, anatomy: Anatomy, level: Level, side: Side) -> None:
    """The traversing root, which runs down and outwards into its recess and is flattened where this is narrow."""
    width = anatomy.measure(Group.SUBARTICULAR, side, level)
    r, a, s = anatomy.recess_point(level, side).tolist()
    outwards = SIGN[side] * 0.12 * (np.float32(s) - patch.s)
    deep = min(TRAVERSING, 0.44 * width)
    ring = squared(patch.r - r - outwards, TRAVERSING + 0.4 * (TRAVERSING - deep)) + squared(patch.a - a, deep)
    patch.paint((ring <= 1.0) & (np.abs(patch.s - np.float32(s - 4.0)) < 12.0), Tissue.NERVE)


def _foramen(canvas: Canvas, anatomy: Anatomy, sign: float, shape: ForamenShape) -> None:
    """What narrows a foramen in front and behind, the remaining fat, vessels, and the root under the pedicle."""
    middle, wall = shape.side, anatomy.canal.wall
    near, far = sorted(sign * edge for edge in (middle - 6.5, middle + 6.0))
    at_wall = anatomy.canal.at(wall, (shape.low + shape.high) / 2)
    patch = canvas.box((near, far), (at_wall - 13.0, at_wall + 12.0), (shape.low, shape.high))
    if patch is None:
        return
    within = (patch.s > np.float32(shape.low)) & (patch.s < np.float32(shape.high))
    tunnel = within & (patch.side > middle - 6.5) & (patch.side < middle + 6.0)
    rows = shape.rows(patch.s)
    behind: Field = np.asarray(wall[anatomy.canal.rows(patch.s)] - patch.a + shape.ahead(patch.side))
    front, back, free = shape.front[rows], shape.back[rows], shape.free_back[rows]
    outer = np.float32(0.9) * np.maximum(patch.side - np.float32(middle + 2.5), np.float32(0.0))
    shut = tunnel & (behind > -0.5) & (behind < free + 3.0 - outer)
    bone = _is_bone(patch)
    patch.paint(shut & (behind < front) & ~bone, Tissue.ANNULUS)
    patch.paint(shut & (behind > back) & ((behind < free) | ~bone), Tissue.LIGAMENT)
    patch.paint(shut & (behind > back + 2.6) & (behind < free + 0.4), Tissue.MARROW)
    open_here = tunnel & (behind > front) & (behind < back)
    patch.paint(open_here, Tissue.FAT)
    depth, height = shape.root_place.tolist()
    drop: Field = np.float32(0.35) * (patch.side - np.float32(middle))
    above: Field = patch.s - np.float32(height) + drop
    vessels = squared(behind - depth + 2.6, 0.8) + squared(above - 2.2, 0.9)
    patch.paint(open_here & (vessels <= 1.0), Tissue.VEIN)
    root = squared(behind - depth, ROOT[0] * shape.root) + squared(above, ROOT[1] * shape.root)
    patch.paint(open_here & (root <= 1.0), Tissue.NERVE)


def _sac(canvas: Canvas, anatomy: Anatomy, piece: tuple[float, float], level: Level | None) -> None:
    """Cerebrospinal fluid with cord, conus and roots, within the dura; ``level`` is that of the disc of the piece."""
    shape = anatomy.canal
    patch = _box(canvas, shape, 12.5, piece)
    if patch is None:
        return
    rows = shape.rows(patch.s)
    behind = shape.wall[rows] - patch.a
    # The front is flat or slightly hollow over the disc.
    hollow = shape.bulge[rows] * np.float32(0.25) * squared(patch.r, 8.0)
    ahead = behind - shape.front[rows] + np.minimum(hollow, 0.5)
    free = _between(patch, piece) & (behind < _roof(patch, shape, rows) - 0.2)
    hernia = None if level is None else anatomy.lesions.hernias[list(Level).index(level)]
    if level is not None and hernia is not None:
        # A herniation dents the sac.
        free &= behind > shape.standing_out(patch.r, rows, hernia)
        free &= _fragment(patch, shape, level, hernia, behind) > 1.0

    def within(margin: float) -> tuple[Mask, Field]:
        """The samples within the sac enlarged by ``margin`` mm, and their places from its front (0) to its back (1)."""
        place = (ahead + np.float32(margin)) / (shape.depth[rows] + np.float32(2 * margin))
        depth = np.float32(2.0) * np.clip(place, 0.0, 1.0) ** shape.pointed[rows] - np.float32(1.0)
        across = squared(patch.r, shape.half_width[rows] + np.float32(margin))
        return free & (across + squared(depth, 1.0) <= 1.0) & (place > 0) & (place < 1), place

    if anatomy.dura > 0:
        patch.paint(within(anatomy.dura)[0] & ~_is_bone(patch), Tissue.LIGAMENT)
    inside, place = within(0.0)
    if not inside.any():
        return
    # The contents are many structures, so they are computed for the few samples inside the sac alone.
    r, s, rows = patch.r[inside], patch.s[inside], rows[inside]
    half, width = shape.depth[rows] / 2, shape.half_width[rows]
    back = np.float32(2.0) * place[inside] - np.float32(1.0)
    content = np.full(len(r), Tissue.CSF, dtype=np.uint8)
    if anatomy.variants.pulsating:
        content[_flowing(r / width, back, s - anatomy.conus)] = Tissue.FLOWING_CSF
    content[_strands(anatomy, r / width, back, s, width, half) & (s < anatomy.conus + 4.0)] = Tissue.NERVE
    content[_cord(r, back * half, s - anatomy.conus)] = Tissue.CORD
    patch.tissue[inside] = content


def _strands(  # noqa: PLR0917 - each is a different thing
    anatomy: Anatomy, across: Field, back: Field, s: Field, width: Field, half: Field
) -> Mask:
    """Roots of the cauda equina: a horseshoe at the back, fewer of them further down.

    Their size is constant, so they fill a narrow sac; there they leave the back and cover the whole of it, which is
    the sedimentation sign of Barz et al. 2010 (absent above 12 mm, in 81 % at 10 mm and less).
    """
    phase, size = float(anatomy.seed % 71), anatomy.root_radius
    clumped = np.float32(0.5 + 0.6 * ((anatomy.seed >> 3) % 10) / 10)
    spread = np.clip((np.float32(6.0) - half) / np.float32(1.5), 0.0, 1.0)
    disc = np.array([anatomy.canal.level_height(level) for level in Level])
    count = np.interp(s, disc[::-1], STRANDS[::-1]).astype(np.float32)
    strands = np.zeros(len(s), dtype=bool)
    for i in range(max(STRANDS)):
        angle = 2.4 * i + phase
        radius = float(np.sqrt((i + 0.5) / max(STRANDS)))
        side, deep = radius * float(np.cos(angle)), radius * float(np.sin(angle))
        at_back = 0.55 - 0.55 * side * side + 0.28 * deep
        centre_side = 0.78 * side * (clumped + (1 - clumped) * spread) + 0.03 * np.sin(0.11 * s + angle)
        centre_back = at_back + (0.75 * deep - at_back) * spread + 0.05 * np.sin(0.08 * s + 1.7 * i)
        here = squared((across - centre_side) * width, size) + squared((back - centre_back) * half, size) <= 1.0
        strands |= here & (count > i)
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
