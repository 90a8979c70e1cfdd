"""One person's lumbar spine: column, canal, foramina and facets, drawn at random around a disease.

All lengths are mm in spine coordinates (see `curve`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.canal_shape import RECESS_DROP, RECESS_SIDE, CanalShape, draw_traits
from data_prep.phantom.curve import EXTENT, SpineCurve
from data_prep.phantom.disease import MEASURES, Disease
from data_prep.phantom.foramen_shape import ForamenShape
from data_prep.phantom.lesions import NO_LESIONS, Lesions, draw_lesions
from data_prep.phantom.quirks import NORMAL, Slip, Variants
from data_prep.phantom.vertebrae import FIRST_LUMBAR, FIRST_SACRAL, Disc, Vertebra, draw_column
from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, Condition, Finding, Group, Level, Side

_TILTS = (-8.0, -11.0, -14.0, -16.0, -13.0, -5.0, 6.0, 22.0, 39.0, 34.0, 16.0)
"""Forward tilt of each body in degrees."""
_INDEX = {(f.condition.group, f.condition.side, f.level): i for i, f in enumerate(FINDINGS)}
SIGN = {Side.LEFT: -1.0, Side.RIGHT: 1.0}
"""Sign of ``r`` on each side."""
_FACET_ANGLES = (25.0, 28.0, 36.0, 45.0, 52.0)
"""Angle of the facet joints against the sagittal plane, in degrees, at the graded levels."""


@dataclass(frozen=True)
class Facet:
    """The facet joint of one level and side."""

    angle: float
    """Against the sagittal plane, in rad."""
    gap: float
    """Width of the joint space in mm."""
    growth: float
    """How much larger than usual its bones are, as a share."""
    fluid: bool
    """Whether the joint space holds fluid instead of cartilage."""


@dataclass(frozen=True)
class Anatomy:
    """Everything that is known of one person's body."""

    curve: SpineCurve
    disease: Disease
    vertebrae: tuple[Vertebra, ...]
    discs: tuple[Disc, ...]
    """T10 to S3 from above, and the disc below each; a vertebra up or down where the transition is unusual."""
    measures: Array
    """The measures of this person, ``(25,)`` in the order of ``FINDINGS``: mm, or mm² for the foramina."""
    canal: CanalShape
    foramina: dict[tuple[int, Side], ForamenShape]
    """By the number of the disc."""
    facets: dict[tuple[int, Side], Facet]
    """By the number of the disc."""
    conus: float
    """Height of the tip of the spinal cord."""
    fat: float
    """Thickness of the subcutaneous fat behind the back muscles."""
    streaks: float
    """Share of fat inside the muscles, from 0 to about .4."""
    seed: int
    """Varies what has no measure: texture, outlines of soft tissue, bowel."""
    variants: Variants = NORMAL
    lesions: Lesions = NO_LESIONS
    root_radius: float = 0.62
    """Of a root of the cauda equina, in mm."""
    dura: float = 0.0
    """Thickness in mm with which the dura shows; voxels of cohorts do not resolve it."""

    def vertebra(self, name: str) -> Vertebra:
        """The vertebra called ``name``.

        Raises
        ------
        KeyError
            If no vertebra has this name.
        """
        return {body.name: body for body in self.vertebrae}[name]

    def level_disc(self, level: Level) -> Disc:
        """The disc of a graded level."""
        return self.discs[FIRST_LUMBAR + list(Level).index(level)]

    def measure(self, group: Group, side: Side | None, level: Level) -> float:
        """The measure of a group at a level and side: mm, or mm² for the foramen."""
        return float(self.measures[_INDEX[group, side, level]])

    def position(self, finding: Finding) -> Array:
        """RAS mm of the middle of a finding's anatomy."""
        side, level = finding.condition.side, finding.level
        if side is None:
            return self.curve.to_world(self.canal_point(level))
        point = self.foramen_point if finding.condition.group is Group.FORAMINAL else self.recess_point
        return self.curve.to_world(point(level, side))

    def canal_point(self, level: Level) -> Array:
        """Spine coordinates of the middle of the thecal sac where the plane of a graded disc meets it."""
        return self.canal.sac_middle(self.canal.level_height(level))

    def recess_point(self, level: Level, side: Side) -> Array:
        """Spine coordinates of the middle of a lateral recess."""
        number = list(Level).index(level)
        s = self.canal.level_height(level) - RECESS_DROP
        behind = self.canal.recess_front(s, side is Side.RIGHT) + self.measure(Group.SUBARTICULAR, side, level) / 2
        return np.array([SIGN[side] * RECESS_SIDE[number], self.canal.at(self.canal.wall, s) - behind, s])

    def foramen_point(self, level: Level, side: Side) -> Array:
        """Spine coordinates of the middle of a foramen at a graded level."""
        return self.foramen_below(FIRST_LUMBAR + list(Level).index(level), side)

    def foramen_below(self, upper: int, side: Side) -> Array:
        """Spine coordinates of the middle of the foramen between vertebra number ``upper`` and the next one."""
        shape = self.foramina[upper, side]
        behind, s = shape.middle.tolist()
        return np.array([SIGN[side] * shape.side, self.canal.at(self.canal.wall, s) - behind, s])


def draw_person(disease: Disease, rng: np.random.Generator, origin: Array, variants: Variants = NORMAL) -> Anatomy:
    """One person with a given disease, the centre of L3 at ``origin`` (RAS mm).

    ``variants`` do not change any random number: with and without them it is the same person otherwise.
    """
    scale = float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.14))
    severity = disease.severity.reshape(len(Condition), len(Level)).mean(axis=0)
    bodies, discs = draw_column(variants.transition, scale, severity, rng)
    traits = draw_traits(rng)
    openness = float(np.clip(rng.normal(1.0, 0.12), 0.75, 1.3))
    own = {Group.SPINAL: traits.depth, Group.FORAMINAL: openness, Group.SUBARTICULAR: 1.0}
    measures = disease.measures() * np.array([own[finding.condition.group] for finding in FINDINGS])
    first = next(body for body in bodies if body.name == "L1")
    curve = _curve(bodies, origin, _slip(discs, variants.slip), rng)
    foramina, facets = _foramina(bodies, discs, measures, openness, rng), _facets(rng)
    conus, fat, streaks = float(first.s - rng.uniform(-6.0, 18.0)), rng.uniform(6.0, 40.0), rng.uniform(0.02, 0.36)
    seed = int(rng.integers(2**31))
    # A stream of their own: lesions change no other random number.
    lesions = draw_lesions(discs, np.random.default_rng([seed, 1]))
    return Anatomy(
        curve=curve,
        disease=disease,
        vertebrae=bodies,
        discs=discs,
        measures=measures,
        canal=CanalShape.of(bodies, discs, measures, traits, lesions.hernias),
        foramina=foramina,
        facets=facets,
        conus=conus,
        fat=float(fat),
        streaks=float(streaks),
        seed=seed,
        variants=variants,
        lesions=lesions,
    )


def _foramina(
    bodies: tuple[Vertebra, ...],
    discs: tuple[Disc, ...],
    measures: Array,
    openness: float,
    rng: np.random.Generator,
) -> dict[tuple[int, Side], ForamenShape]:
    """The foramina of the graded levels, and free ones above them; ``openness`` is the factor of the person's size."""
    shapes = {}
    for i, disc in enumerate(discs[:FIRST_SACRAL]):
        for side, start in ((Side.LEFT, len(Level)), (Side.RIGHT, 2 * len(Level))):
            level = i - FIRST_LUMBAR
            free = openness * MEASURES[Group.FORAMINAL].free[max(level, 0)]
            area = float(measures[start + level]) if level >= 0 else 0.9 * free
            pair = (bodies[i], bodies[i + 1])
            shapes[i, side] = ForamenShape.of(pair, disc.at(-bodies[i].depth / 2), area, free, rng)
    return shapes


def _facets(rng: np.random.Generator) -> dict[tuple[int, Side], Facet]:
    """Oblique joints, which differ a little between the sides; above L1 as at L1."""
    facets = {}
    for i in range(FIRST_SACRAL):
        middle = _FACET_ANGLES[max(0, i - FIRST_LUMBAR)] + rng.normal(0.0, 6.0)
        worn = rng.random() < 0.35
        for side in Side:
            angle = np.radians(np.clip(middle + rng.normal(0.0, 4.0), 12.0, 68.0))
            fluid = bool(rng.random() < 0.25)
            gap = rng.uniform(1.0, 3.0) if fluid else rng.uniform(0.7, 1.5)
            growth = rng.uniform(0.1, 0.45) if worn else rng.normal(0.0, 0.07)
            facets[i, side] = Facet(float(angle), float(gap), float(growth), fluid)
    return facets


def _slip(discs: tuple[Disc, ...], slip: Slip | None) -> Array:
    """How far forward everything lies at the curve's heights: the step has the height of one disc."""
    heights = SpineCurve.heights()
    if slip is None:
        return np.zeros_like(heights)
    disc = discs[FIRST_LUMBAR + list(Level).index(slip.level)]
    part = np.clip((heights - disc.s) / max(disc.height, 5.0) + 0.5, 0.0, 1.0)
    moved = slip.amount * part * part * (3.0 - 2.0 * part)
    return moved - np.interp(0.0, heights, moved)


def _curve(bodies: tuple[Vertebra, ...], origin: Array, slip: Array, rng: np.random.Generator) -> SpineCurve:
    """Tilt scaled by a random lordosis, with gentle scoliosis and rotation; the bends lie mostly in the discs."""
    heights = SpineCurve.heights()
    lordosis = float(np.clip(rng.normal(1.0, 0.22), 0.5, 1.5))
    tilts = np.radians(_TILTS) * lordosis + rng.normal(0.0, np.radians(1.5), len(_TILTS))
    edges = [body.s + half * body.height for body in bodies for half in (0.4, -0.4)]
    nearer = np.interp(edges, [body.s for body in bodies][::-1], tilts[::-1])
    knots = 0.6 * np.repeat(tilts, 2) + 0.4 * nearer
    tilt = _smooth(np.interp(heights, edges[::-1], knots[::-1]), 8)
    bend = rng.normal(0.0, 3.0) * np.sin(2 * np.pi * (heights / rng.uniform(180, 320) + rng.random()))
    twist = np.radians(rng.normal(0.0, 2.5)) * np.sin(2 * np.pi * (heights / EXTENT + rng.random()))
    return SpineCurve.from_tilt(origin, tilt, bend, twist, slip)


def _smooth(values: Array, half: int) -> Array:
    """Mean over ``2 half + 1`` neighbours; the ends are repeated."""
    padded = np.pad(values, half, mode="edge")
    return np.convolve(padded, np.full(2 * half + 1, 1.0 / (2 * half + 1)), mode="valid")
