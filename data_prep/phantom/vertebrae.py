"""The column of vertebrae and discs of one person, with what wears them.

Lengths are mm in spine coordinates (see `curve`). Sizes follow adult morphometry, both sexes together: bodies of
SpineReports and Zhou et al., discs of Neubert and Onishi, pedicles of Zindrick and of Mao.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from data_prep.phantom.quirks import Transition
from monai_spine.geometry import Array
from monai_spine.spine import Level

_SIZES = {
    # body height, depth and width, height of the disc below, middle and half width of the pedicle
    "T9": (20.0, 28.0, 30.0, 4.0, 12.5, 3.4),
    "T10": (21.0, 29.0, 31.0, 4.5, 12.5, 3.4),
    "T11": (22.0, 30.0, 34.0, 5.0, 13.5, 3.8),
    "T12": (23.6, 31.0, 38.0, 6.0, 14.5, 4.0),
    "L1": (25.2, 32.8, 41.0, 7.4, 15.4, 4.3),
    "L2": (25.8, 34.2, 42.5, 8.5, 15.8, 4.4),
    "L3": (25.7, 35.5, 44.0, 9.6, 16.6, 5.0),
    "L4": (25.6, 36.3, 46.5, 10.8, 18.0, 6.0),
    "L5": (25.4, 37.5, 50.0, 10.6, 20.2, 7.4),
    "L6": (25.0, 36.5, 50.0, 8.5, 20.2, 7.4),
    "S1": (27.0, 33.0, 48.0, 2.4, 21.5, 8.0),
    "S2": (23.0, 23.0, 38.0, 1.5, 18.0, 7.0),
    "S3": (20.0, 17.0, 30.0, 1.0, 15.0, 6.0),
}
_FUSED_L5 = (26.0, 35.5, 50.0, 3.6, 20.2, 7.4)
"""A sacralised L5 with its rudimentary disc."""
_NAMES = {
    Transition.USUAL: ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2", "S3"),
    Transition.L6: ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "L6", "S1", "S2", "S3"),
    Transition.SACRALISED_L5: ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2"),
}
"""Vertebrae from above. The number above the sacrum is always the same."""
FIRST_SACRAL = 8
"""Index of the uppermost vertebra of the sacrum."""
FIRST_LUMBAR = FIRST_SACRAL - len(Level)
"""Index of the vertebra above the first graded disc: L1, or L2 if there are six, or T12 if L5 is sacral."""
CENTRE = FIRST_LUMBAR + 2
"""Index of the vertebra at the origin of spine coordinates: L3 in most people."""
_REMNANT = 0.39
"""Share of people whose S1/S2 disc is more than a line (O'Driscoll)."""


class Modic(IntEnum):
    """Changes of the marrow beside a disc."""

    NONE = 0
    OEDEMA = 1
    FAT = 2
    SCLEROSIS = 3


@dataclass(frozen=True)
class Vertebra:
    """A vertebral body: the height ``s`` of its middle, its size, and where its pedicles are."""

    name: str
    s: float
    height: float
    depth: float
    width: float
    sacral: bool
    """Whether it is part of the sacrum."""
    pedicle_side: float
    pedicle_half: float
    """Distance of the pedicles' middle from the midline, and half their width."""

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
    slope: float = 0.0
    """How much higher its plane lies for each mm further forward: it does not cross the canal at a right angle."""
    lip: float = 0.0
    """How far osteophytes and the bulging annulus stand out, as a share of the body's radius."""
    vacuum: bool = False
    modic: Modic = Modic.NONE

    def at(self, a: float) -> float:
        """Height ``s`` of its plane at ``a``."""
        return self.s + self.slope * a


def draw_column(
    transition: Transition, scale: float, severity: Array, rng: np.random.Generator
) -> tuple[tuple[Vertebra, ...], tuple[Disc, ...]]:
    """Bodies and discs from above; the vertebra number `CENTRE` lies at height 0.

    ``severity`` ``(5,)`` is the mean severity at the levels. Worn discs and narrow levels go together in some people
    only: otherwise a dark, low disc would tell the grade.
    """
    coupling = rng.uniform(0.0, 1.0) if rng.random() < 0.6 else 0.0
    age = rng.uniform(0.0, 1.0)
    wear = 0.75 * age - 0.2 + 0.28 * coupling * (severity + 0.6) + rng.normal(0.0, 0.2, len(Level))
    wear[-2:] += 0.08  # L4/L5 and L5/S1 wear first
    graded = dict(zip(range(FIRST_LUMBAR, FIRST_SACRAL), wear.tolist(), strict=True))
    top, bodies, discs = 0.0, [], []
    for i, name in enumerate(_NAMES[transition]):
        sacral = i >= FIRST_SACRAL
        height, depth, width, gap, side, half = _FUSED_L5 if sacral and name == "L5" else _SIZES[name]
        high, deep, wide = (scale * np.array([height, depth, width]) * rng.normal(1.0, 0.025, 3)).tolist()
        bodies.append(Vertebra(name, top - high / 2, high, deep, wide, sacral, scale * side, scale * half))
        low = _sacral_disc if sacral else _worn_disc
        disc = low(scale * gap, graded.get(i, float(rng.uniform(-0.1, 0.4))), rng)
        shrunk = rng.uniform(0.45, 0.8) if sacral else 1.0
        slope = float(rng.normal(-0.10, 0.03) if i == FIRST_SACRAL - 1 else rng.normal(0.0, 0.0 if sacral else 0.02))
        discs.append(
            replace(disc, s=top - high - disc.height / 2, depth=deep * shrunk, width=wide * shrunk, slope=slope)
        )
        top -= high + disc.height
    shift = bodies[CENTRE].s
    return tuple(replace(b, s=b.s - shift) for b in bodies), tuple(replace(d, s=d.s - shift) for d in discs)


def _worn_disc(height: float, wear: float, rng: np.random.Generator) -> Disc:
    """A disc of a healthy ``height``; ``wear`` is 0 for a healthy and 1 for a destroyed one."""
    water = float(np.clip(0.92 - 0.85 * wear + rng.normal(0.0, 0.10), 0.02, 1.0))
    left = float(np.clip(1.02 - 0.42 * max(0.0, wear) + rng.normal(0.0, 0.08), 0.35, 1.2))
    draws = rng.random(5)  # always all, so that a variant of the person does not change what follows
    if wear > 0.65 and draws[3] < 0.35:
        left = 0.15 + 0.35 * draws[4]
    lip = float(np.clip(0.15 * (wear - 0.3) + rng.normal(0.02, 0.03), 0.0, 0.2))
    modic = Modic(1 + int(draws[1] * 3)) if draws[0] < 0.3 * np.clip(wear - 0.2, 0.0, 1.0) else Modic.NONE
    return Disc(0.0, height * left, 0.0, 0.0, water, lip=lip, vacuum=bool(wear > 0.5 and draws[2] < 0.2), modic=modic)


def _sacral_disc(height: float, wear: float, rng: np.random.Generator) -> Disc:
    """A remnant within the sacrum: a line, or a small disc with any signal."""
    draws = rng.random(3)
    grown = 2.0 + 4.5 * draws[1] if draws[0] < _REMNANT and height < 3.0 else height
    return Disc(0.0, float(grown), 0.0, 0.0, float(np.clip(0.9 * draws[2] - 0.2 * wear, 0.0, 1.0)))
