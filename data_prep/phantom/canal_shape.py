"""The shape of one person's canal: bony walls, ligaments, thecal sac and recesses, as tables over height.

``behind`` is the distance behind the posterior wall of bodies and discs, in mm. The sac is wide at mid-body and pinched
at discs (SpineReports: depth 14.4 to 13.0 mm at mid-body, 13 to 11 mm at discs, width 22 to 15 mm). Its cross-section
is an oval at L1 and a rounded triangle with its apex behind at L5, in a V of laminae and ligamenta flava.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_prep.phantom.curve import Field
from data_prep.phantom.disease import MEASURES
from data_prep.phantom.lesions import Hernia, bulge_profile
from data_prep.phantom.vertebrae import FIRST_LUMBAR, FIRST_SACRAL, Disc, Vertebra
from monai_spine.geometry import Array
from monai_spine.spine import Group, Level

STEP = 0.25
"""Distance between the heights of the tables in mm."""
_BODY_DEPTH = (14.5, 14.5, 14.8, 14.8, 14.3, 13.5, 13.1, 13.0)
_BODY_WIDTH = (18.0, 18.0, 19.0, 20.5, 21.3, 21.3, 20.2, 17.0)
"""Depth and width of the sac at the middles of the bodies above the sacrum."""
_DISC_WIDTH = (18.7, 18.2, 17.3, 16.0, 14.6)
"""Width of the sac at the graded discs."""
_POINTED = (1.0, 1.0, 1.0, 0.95, 0.88, 0.80, 0.70, 0.60)
"""Exponent of the cross-section at the bodies: 1 is an ellipse; the lower, the nearer to a triangle."""
RECESS_SIDE = (10.6, 10.2, 9.8, 9.8, 10.4)
"""Distance of a recess's middle from the midline at the graded discs."""
RECESS_DROP = 2.0
"""The recess is measured this far below the disc."""
_OPEN_RECESS = 8.5


@dataclass(frozen=True)
class CanalTraits:
    """What differs between the canals of persons with the same disease."""

    depth: float
    width: float
    """Factors of the sac's size."""
    front_share: tuple[float, ...]
    """Per level, the share of a narrowing that disc and osteophytes make. Ligaments and facets make the rest."""
    extent: tuple[float, ...]
    """Half length along the canal over which a narrowing fades, per level."""
    pad: tuple[float, ...]
    """Depth of the fat triangle behind the free sac, per level."""
    gap: float
    """Depth of the epidural fat in front of the sac at L5/S1."""


def draw_traits(rng: np.random.Generator) -> CanalTraits:
    """Traits of one person; the depth of the sac varies by 12 % between persons."""
    depth, width = np.clip(rng.normal(1.0, [0.12, 0.07]), [0.76, 0.84], [1.28, 1.16]).tolist()
    count = len(Level)
    return CanalTraits(
        depth,
        width,
        tuple(rng.uniform(0.25, 0.75, count).tolist()),
        tuple(rng.uniform(4.5, 7.5, count).tolist()),
        tuple(np.clip(rng.normal(4.0, 1.4, count), 1.0, 7.5).tolist()),
        float(np.clip(rng.normal(3.2, 1.5), 0.8, 7.0)),
    )


@dataclass(frozen=True)
class CanalShape:
    """The canal along the spine as tables over height: to look a value up is faster than to compute it."""

    start: float
    """Height of the first row in mm; the rows are `STEP` mm apart."""
    wall: Field
    """``a`` of the posterior wall; all further depths are mm behind it."""
    front: Field
    """Where the sac begins."""
    depth: Field
    half_width: Field
    pointed: Field
    bulge: Field
    """How far discs and osteophytes stand out at the midline."""
    beside: Field
    """How far they stand out at the recesses, ``(rows, 2)``, left then right."""
    roof: Field
    """Where fat ends and laminae or flava begin at the midline."""
    recess: Field
    """Depth of the recesses, ``(rows, 2)``, left then right."""
    disc_heights: tuple[float, ...]
    """Heights of the discs above the sacrum where their planes meet the canal, from above."""
    hernias: tuple[Hernia | None, ...]
    """By level."""

    @classmethod
    def of(
        cls,
        bodies: tuple[Vertebra, ...],
        discs: tuple[Disc, ...],
        measures: Array,
        traits: CanalTraits,
        hernias: tuple[Hernia | None, ...],
    ) -> CanalShape:
        """The tables of a person with the 25 ``measures``, from the lowest vertebra to the highest."""
        start, stop = bodies[-1].s - 20.0, bodies[0].s + 20.0
        s = np.arange(start, stop, STEP)
        wall = posterior_wall(bodies, s)
        every = [disc.at(float(posterior_wall(bodies, np.array(disc.s))) - 5.0) for disc in discs[:FIRST_SACRAL]]
        heights = every[FIRST_LUMBAR:]
        depth_left, recess_left, recess_right = measures[:5], measures[15:20], measures[20:]
        free = np.array(MEASURES[Group.SPINAL].free) * traits.depth

        taper = np.interp(s, [bodies[-2].s - 4.0, bodies[FIRST_SACRAL].s + 10.0], [0.02, 1.0])
        between = _between(bodies, s)
        windows = [np.exp(-((np.abs(s - h) / e) ** 3)) for h, e in zip(heights, traits.extent, strict=True)]
        body_depth, body_width = traits.depth * between(_BODY_DEPTH), traits.width * between(_BODY_WIDTH)
        at = np.clip(((np.array(heights) - start) / STEP).round().astype(int), 0, len(s) - 1)
        share = np.minimum(depth_left / free, 1.0)
        # A narrowed sac is also slimmer: with the exponent .9 the area falls faster than the depth.
        disc_width = traits.width * np.array(_DISC_WIDTH) * (depth_left / free) ** 0.9
        depth = body_depth - _sum(windows, body_depth[at] - depth_left)
        width = body_width - _sum(windows, body_width[at] - disc_width)
        standing = np.maximum(0.0, body_depth[at] - depth_left) * traits.front_share
        bulge = _sum(windows, standing)
        beside = [
            _sum(windows, standing * [_at_recess(*pair, sign) for pair in zip(hernias, RECESS_SIDE, strict=True)])
            for sign in (-1.0, 1.0)
        ]
        lowest = heights[-1]
        gap = np.interp(s, [lowest - 25.0, lowest - 5.0, lowest + 16.0], [traits.gap + 2.5, traits.gap, 1.0])
        front = bulge + np.maximum(0.7, gap - bulge)
        pads = np.array(traits.pad) * np.clip((share - 0.5) / 0.45, 0.0, 1.0)
        fat = 0.8 + _sum([np.exp(-(((s - h + 1.0) / 7.5) ** 4)) for h in heights], pads)
        near = [np.exp(-(((s - h + RECESS_DROP) / 9.0) ** 4)) for h in heights]
        recess = np.stack([_OPEN_RECESS + _sum(near, r - _OPEN_RECESS) for r in (recess_left, recess_right)], axis=-1)
        pointed = between(_POINTED) - 0.25 * _sum(windows, np.clip(1.0 - share, 0.0, 0.6))
        return cls(
            start=start,
            wall=wall.astype(np.float32),
            front=front.astype(np.float32),
            depth=(depth * taper).astype(np.float32),
            half_width=(width / 2 * taper**0.5).astype(np.float32),
            pointed=pointed.astype(np.float32),
            bulge=bulge.astype(np.float32),
            beside=np.stack(beside, axis=-1).astype(np.float32),
            roof=(front + depth + fat).astype(np.float32),
            recess=recess.astype(np.float32),
            disc_heights=tuple(every),
            hernias=hernias,
        )

    def rows(self, s: Field) -> np.ndarray:
        """The rows of the tables at heights ``s``."""
        place = (s - np.float32(self.start)) * np.float32(1 / STEP) + np.float32(0.5)
        return np.clip(place, 0, len(self.wall) - 1).astype(np.int32)

    def level_height(self, level: Level) -> float:
        """Height at which the plane of a graded disc meets the canal."""
        return self.disc_heights[FIRST_LUMBAR + list(Level).index(level)]

    def at(self, table: Field, s: float) -> float:
        """The value of a table at one height."""
        return float(np.interp((s - self.start) / STEP, np.arange(len(table)), table))

    def sac_middle(self, s: float) -> Array:
        """Spine coordinates of the middle of the thecal sac at a height."""
        return np.array([0.0, self.at(self.wall, s) - self.at(self.front, s) - self.at(self.depth, s) / 2, s])

    def recess_front(self, s: float, right: bool) -> float:
        """Where a recess begins behind the wall: behind what stands out of the disc there."""
        return 0.4 + self.at(self.beside[:, int(right)], s)

    def standing_out(self, r: Field, rows: np.ndarray, hernia: Hernia | None) -> Field:
        """How far a disc, with its herniation, stands out behind the wall."""
        return np.asarray(self.bulge[rows] * bulge_profile(hernia, r) + np.float32(0.35), dtype=np.float32)


def _at_recess(hernia: Hernia | None, side: float, sign: float) -> float:
    """How far a disc stands out at a recess, as a share of the midline's."""
    return float(bulge_profile(hernia, np.array(sign * side, dtype=np.float32)))


def posterior_wall(bodies: tuple[Vertebra, ...], s: Array) -> Array:
    """``a`` of the back of bodies and discs at heights ``s``."""
    return -np.interp(s, [body.s for body in bodies][::-1], [body.depth / 2 for body in bodies][::-1])


def _between(bodies: tuple[Vertebra, ...], s: Array) -> Callable[[tuple[float, ...]], Array]:
    """A function that interpolates values at the bodies above the sacrum; S1 has those of the last one."""
    heights = [body.s for body in bodies[:FIRST_SACRAL]][::-1]
    return lambda values: np.interp(s, heights, values[::-1])


def _sum(windows: list[Array], amounts: Array) -> Array:
    """The windows, each times its amount, together."""
    return np.tensordot(np.asarray(amounts), np.stack(windows), 1)
