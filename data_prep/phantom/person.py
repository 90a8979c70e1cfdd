"""One person's lumbar spine: sizes, heights along the curve, discs and canal, drawn at random around a disease.

All lengths are mm in spine coordinates (see `curve`). Sizes follow adult morphometry: lumbar bodies 25-29 mm high,
33-37 mm deep and 41-52 mm wide, discs 7-12 mm high, bony canal about 17 mm deep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data_prep.phantom.curve import EXTENT, SpineCurve
from data_prep.phantom.disease import Disease
from data_prep.phantom.quirks import NORMAL, Slip, Transition, Variants
from monai_spine.geometry import Array
from monai_spine.spine import FINDINGS, Condition, Finding, Group, Level, Side

_SIZES = {
    # body height, depth and width, height of the disc below
    "T9": (21.0, 28.0, 30.0, 4.5),
    "T10": (22.0, 29.0, 31.0, 5.0),
    "T11": (23.0, 29.5, 34.0, 5.5),
    "T12": (24.5, 30.5, 38.0, 6.5),
    "L1": (26.0, 32.0, 41.0, 8.0),
    "L2": (27.0, 33.0, 43.0, 9.5),
    "L3": (28.0, 34.0, 45.0, 10.5),
    "L4": (28.0, 34.5, 48.0, 11.5),
    "L5": (28.0, 35.0, 51.0, 10.5),
    "L6": (27.0, 33.5, 50.0, 8.5),
    "S1": (28.0, 32.0, 48.0, 2.0),
    "S2": (24.0, 23.0, 38.0, 1.5),
    "S3": (21.0, 17.0, 30.0, 1.0),
}
_FUSED_L5 = (27.0, 33.5, 51.0, 3.6)
"""A sacralised L5 with its rudimentary disc."""
_NAMES = {
    Transition.USUAL: ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2", "S3"),
    Transition.L6: ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "L6", "S1", "S2", "S3"),
    Transition.SACRALISED_L5: ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2"),
}
"""Vertebrae from above. The number above the sacrum is always the same."""
_TILTS = (-8.0, -11.0, -14.0, -16.0, -13.0, -5.0, 6.0, 22.0, 37.0, 30.0, 14.0)
"""Forward tilt of each body in degrees."""
FIRST_SACRAL = 8
"""Index of the uppermost vertebra of the sacrum."""
FIRST_LUMBAR = FIRST_SACRAL - len(Level)
"""Index of the vertebra above the first graded disc: L1, or L2 if there are six, or T12 if L5 is sacral."""
CENTRE = FIRST_LUMBAR + 2
"""Index of the vertebra at the origin of spine coordinates: L3 in most people."""

_INDEX = {(f.condition.group, f.condition.side, f.level): i for i, f in enumerate(FINDINGS)}

SAC_GAP = 1.0
"""Epidural space between the posterior wall and the thecal sac."""
CANAL_DEPTH = 18.5
"""Depth of the bony canal."""
FADING = 6.5
"""Half length along the canal over which a narrowing at a disc fades."""
RECESS_SIDE = 9.5
"""Distance of a recess's middle from the midline."""
RECESS_DROP = 2.0
"""The recess is measured this far below the middle of the disc."""
FORAMEN_SIDE = 17.5
"""Distance of a foramen's middle from the midline."""
SIGN = {Side.LEFT: -1.0, Side.RIGHT: 1.0}
"""Sign of ``r`` on each side."""


@dataclass(frozen=True)
class Vertebra:
    """A vertebral body: the height ``s`` of its middle, and its size."""

    name: str
    s: float
    height: float
    depth: float
    width: float
    sacral: bool
    """Whether it is part of the sacrum."""

    @property
    def pedicle(self) -> float:
        """Height ``s`` of the middle of its pedicles."""
        return self.s + 0.22 * self.height


@dataclass(frozen=True)
class Disc:
    """The disc below a vertebra: height ``s`` of its middle, size, and ``hydration`` from 0 (black) to 1 (bright)."""

    s: float
    height: float
    depth: float
    width: float
    hydration: float


@dataclass(frozen=True)
class Anatomy:
    """Everything that is known of one person's body."""

    curve: SpineCurve
    disease: Disease
    vertebrae: tuple[Vertebra, ...]
    discs: tuple[Disc, ...]
    """T10 to S3 from above, and the disc below each; a vertebra up or down where the transition is unusual."""
    front_share: tuple[float, ...]
    """Per level, the share of a canal narrowing that the disc makes. Ligaments and facets make the rest."""
    sac_depth: float
    """Antero-posterior diameter of the thecal sac away from the discs."""
    conus: float
    """Height of the tip of the spinal cord."""
    fat: float
    """Thickness of the subcutaneous fat behind the back muscles."""
    streaks: float
    """Share of fat inside the muscles, from 0 to about .4."""
    seed: int
    """Varies what has no measure: texture, outlines of soft tissue, bowel."""
    variants: Variants = NORMAL

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
        return float(self.disease.measure[_INDEX[group, side, level]])

    def position(self, finding: Finding) -> Array:
        """RAS mm of the middle of a finding's anatomy."""
        side, level = finding.condition.side, finding.level
        if side is None:
            return self.curve.to_world(self.canal_point(level))
        point = self.foramen_point if finding.condition.group is Group.FORAMINAL else self.recess_point
        return self.curve.to_world(point(level, side))

    def canal_point(self, level: Level) -> Array:
        """Spine coordinates of the middle of the thecal sac at a graded disc."""
        return self.sac_middle(self.level_disc(level).s)

    def sac_middle(self, s: float) -> Array:
        """Spine coordinates of the middle of the thecal sac at a height."""
        height = np.array(s)
        return np.array([0.0, float(self.sac_front(height) - self.sac_ap(height) / 2), s])

    def recess_point(self, level: Level, side: Side) -> Array:
        """Spine coordinates of the middle of a lateral recess."""
        s = self.level_disc(level).s - RECESS_DROP
        width = self.measure(Group.SUBARTICULAR, side, level)
        return np.array([SIGN[side] * RECESS_SIDE, self.wall(s) - 0.8 - width / 2, s])

    def foramen_point(self, level: Level, side: Side) -> Array:
        """Spine coordinates of the middle of a foramen at a graded level."""
        return self.foramen_below(FIRST_LUMBAR + list(Level).index(level), side)

    def foramen_below(self, upper: int, side: Side) -> Array:
        """Spine coordinates of the middle of the foramen between vertebra number ``upper`` and the next one."""
        s = (self.vertebrae[upper].pedicle + self.vertebrae[upper + 1].pedicle) / 2
        return np.array([SIGN[side] * FORAMEN_SIDE, self.wall(s) - 5.0, s])

    def wall(self, s: float) -> float:
        """``a`` of the posterior wall at one height."""
        return float(self.posterior_wall(np.array(s)))

    def posterior_wall(self, s: Array) -> Array:
        """``a`` of the back of bodies and discs at heights ``s``."""
        heights = [body.s for body in self.vertebrae][::-1]
        return -np.interp(s, heights, [body.depth / 2 for body in self.vertebrae][::-1])

    def sac_ap(self, s: Array) -> Array:
        """Depth of the thecal sac at heights ``s``; at a graded disc exactly the measure, tapering in the sacrum."""
        narrowing = sum(
            (self.sac_depth - self.measure(Group.SPINAL, None, level)) * _window(s - self.level_disc(level).s)
            for level in Level
        )
        return (self.sac_depth - narrowing) * self._taper(s)

    def bulge(self, s: Array) -> Array:
        """How far the discs push the sac back at heights ``s``."""
        return sum(
            (self.front_share[i] * max(0.0, self.sac_depth - self.measure(Group.SPINAL, None, level)))
            * _window(s - self.level_disc(level).s)
            for i, level in enumerate(Level)
        ) + np.zeros_like(s)

    def _taper(self, s: Array) -> Array:
        """1 down to S1, falling to 0 where the sac ends at S2."""
        s1, s2 = self.vertebra("S1").s, self.vertebra("S2").s
        return np.interp(s, [s2 - 4.0, s1 + 10.0], [0.02, 1.0])

    def sac_front(self, s: Array) -> Array:
        """``a`` of the front of the sac at heights ``s``."""
        drift = 3.0 * (1.0 - self._taper(s))
        return self.posterior_wall(s) - SAC_GAP - self.bulge(s) - drift


def _window(offset: Array) -> Array:
    """How a narrowing at a disc fades along the canal: 1 at the disc, flat around it, near 0 at 12 mm."""
    return np.exp(-((np.abs(offset) / FADING) ** 3))


def draw_person(disease: Disease, rng: np.random.Generator, origin: Array, variants: Variants = NORMAL) -> Anatomy:
    """One person with a given disease, the centre of L3 at ``origin`` (RAS mm).

    ``variants`` do not change any random number: with and without them it is the same person otherwise.
    """
    scale = float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.12))
    # Levels with more disease, on average over the conditions, have drier discs.
    severity = disease.severity.reshape(len(Condition), len(Level)).mean(axis=0)
    hydration = np.clip(0.85 - 0.22 * (severity + 0.6) + rng.normal(0.0, 0.18, len(Level)), 0.03, 1.0)
    vertebrae, discs = _stack(variants.transition, scale, hydration, rng)
    first = next(body for body in vertebrae if body.name == "L1")
    conus = first.s - rng.uniform(-6.0, 18.0)
    return Anatomy(
        curve=_curve(vertebrae, origin, _slip(discs, variants.slip), rng),
        disease=disease,
        vertebrae=vertebrae,
        discs=discs,
        front_share=tuple(rng.uniform(0.3, 0.6, len(Level))),
        sac_depth=float(rng.normal(15.8, 0.5)),
        conus=float(conus),
        fat=float(rng.uniform(8.0, 28.0)),
        streaks=float(rng.uniform(0.02, 0.32)),
        seed=int(rng.integers(2**31)),
        variants=variants,
    )


def _stack(
    transition: Transition, scale: float, hydration: Array, rng: np.random.Generator
) -> tuple[tuple[Vertebra, ...], tuple[Disc, ...]]:
    """Bodies and discs from above; the vertebra number `CENTRE` lies at height 0."""
    graded = {FIRST_LUMBAR + i: float(value) for i, value in enumerate(hydration)}
    top, bodies, discs = 0.0, [], []
    for i, name in enumerate(_NAMES[transition]):
        sacral = i >= FIRST_SACRAL
        height, depth, width, disc_height = _FUSED_L5 if sacral and name == "L5" else _SIZES[name]
        high, deep, wide = (scale * np.array([height, depth, width]) * rng.normal(1.0, 0.02, 3)).tolist()
        bodies.append(Vertebra(name, top - high / 2, high, deep, wide, sacral))
        water = graded.get(i, float(rng.uniform(0.55, 0.95)))
        # Dry discs have lost height, but for the rudimentary ones of the sacrum.
        gap = scale * disc_height * float(rng.normal(1.0, 0.06)) * (1.0 if disc_height < 4 else 0.62 + 0.42 * water)
        discs.append(Disc(top - high - gap / 2, gap, deep + 1.0, wide + 1.5, water))
        top -= high + gap
    shift = bodies[CENTRE].s
    return tuple(replace(b, s=b.s - shift) for b in bodies), tuple(replace(d, s=d.s - shift) for d in discs)


def _slip(discs: tuple[Disc, ...], slip: Slip | None) -> Array:
    """How far forward everything lies at the curve's heights: the step has the height of one disc."""
    heights = SpineCurve.heights()
    if slip is None:
        return np.zeros_like(heights)
    disc = discs[FIRST_LUMBAR + list(Level).index(slip.level)]
    part = np.clip((heights - disc.s) / max(disc.height, 5.0) + 0.5, 0.0, 1.0)
    moved = slip.amount * part * part * (3.0 - 2.0 * part)
    return moved - np.interp(0.0, heights, moved)


def _curve(vertebrae: tuple[Vertebra, ...], origin: Array, slip: Array, rng: np.random.Generator) -> SpineCurve:
    """Tilt interpolated between the bodies and scaled by a random lordosis, with gentle scoliosis and rotation."""
    heights = SpineCurve.heights()
    lordosis = float(np.clip(rng.normal(1.0, 0.2), 0.6, 1.35))
    tilts = np.radians(_TILTS) * lordosis + rng.normal(0.0, np.radians(1.0), len(_TILTS))
    tilt = _smooth(np.interp(heights, [b.s for b in vertebrae][::-1], tilts[::-1]), 12)
    bend = rng.normal(0.0, 2.5) * np.sin(2 * np.pi * (heights / rng.uniform(180, 320) + rng.random()))
    twist = np.radians(rng.normal(0.0, 2.0)) * np.sin(2 * np.pi * (heights / EXTENT + rng.random()))
    return SpineCurve.from_tilt(origin, tilt, bend, twist, slip)


def _smooth(values: Array, half: int) -> Array:
    """Mean over ``2 half + 1`` neighbours; the ends are repeated."""
    padded = np.pad(values, half, mode="edge")
    return np.convolve(padded, np.full(2 * half + 1, 1.0 / (2 * half + 1)), mode="valid")
