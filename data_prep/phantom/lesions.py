"""What single persons have besides wear and narrowing: herniations, fissures, nodes, cysts, an operated arch.

None of them changes a measure or a label: what narrows is drawn to the depth of its measure, whatever its form. All
lengths are mm in spine coordinates (see `curve`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.curve import Field
from data_prep.phantom.vertebrae import FIRST_LUMBAR, FIRST_SACRAL, Disc
from monai_spine.spine import Level, Side

_BROAD = 11.5
"""Half width of the bulge of a disc without a herniation."""
_HERNIATED = (0.03, 0.06, 0.10, 0.22, 0.22)
"""Share of herniated discs by level: nine in ten lie at L4/L5 and L5/S1; of persons without pain 29 to 43 % have one
(Brinjikji et al. 2015)."""
_FISSURED = 0.12
"""Share of worn discs with a bright fissure: 8 to 38 % of persons have one."""
_WITH_NODES = 0.22
"""Share of persons with Schmorl's nodes: 16 to 28 % (Mok et al. 2010)."""
_CYST_BEHIND, _CYST_BEFORE = 0.07, 0.023
"""Shares of persons with a cyst of a facet joint: Doyle and Merrilees 2004."""
_OPERATED = 0.04
"""Share of persons with a laminectomy; of patients who are imaged more, of others fewer."""


@dataclass(frozen=True)
class Hernia:
    """Where the back of a disc stands out beyond its bulge, and how far its material has moved along the canal."""

    side: float
    """``r`` of its middle: positive on the right."""
    half_width: float
    share: float
    """How much of what stands out at the midline is the herniation's."""
    migration: float
    """How far a fragment lies above (or, if negative, below) the disc; 0 where there is none."""

    def profile(self, r: Field) -> Field:
        """How far it stands out at ``r``, as a share of the disc's whole depth at the midline."""
        at_midline = np.exp(-((self.side / self.half_width) ** 4))
        place = (r - np.float32(self.side)) / np.float32(self.half_width)
        return np.asarray(np.float32(self.share / at_midline) * np.exp(-np.square(np.square(place))), dtype=np.float32)


def bulge_profile(hernia: Hernia | None, r: Field) -> Field:
    """How far the back of a disc stands out at ``r``, as a share of the midline's."""
    broad = np.exp(-np.square(np.square(r / np.float32(_BROAD))))
    if hernia is None:
        return np.asarray(broad, dtype=np.float32)
    return np.asarray(np.float32(1.0 - hernia.share) * broad + hernia.profile(r), dtype=np.float32)


@dataclass(frozen=True)
class Node:
    """A Schmorl's node: disc that has sunk through the end plate into a body."""

    disc: int
    """Number of the disc."""
    above: bool
    """Whether it lies in the body above the disc."""
    place: tuple[float, float]
    """Offset of its middle to the right and to the front, in halves of the body's size."""
    radius: float
    depth: float


@dataclass(frozen=True)
class Cyst:
    """A fluid-filled cyst of a facet joint, which lies behind the canal, or else behind the joint."""

    level: Level
    side: Side
    radius: float
    in_canal: bool


@dataclass(frozen=True)
class Lesions:
    """What one person has; nothing by default."""

    hernias: tuple[Hernia | None, ...] = (None,) * len(Level)
    """By level."""
    fissures: tuple[float | None, ...] = (None,) * len(Level)
    """By level, ``r`` of a bright fissure in the back of the annulus."""
    nodes: tuple[Node, ...] = ()
    cysts: tuple[Cyst, ...] = ()
    operated: frozenset[int] = frozenset()
    """Numbers of the vertebrae without lamina and spinous process."""


NO_LESIONS = Lesions()


def draw_lesions(discs: tuple[Disc, ...], rng: np.random.Generator) -> Lesions:
    """The lesions of one person."""
    graded = discs[FIRST_LUMBAR:FIRST_SACRAL]
    hernias = tuple(_hernia(rng) if rng.random() < share else None for share in _HERNIATED)
    fissures = tuple(
        float(rng.uniform(-7.0, 7.0)) if disc.hydration < 0.75 and rng.random() < _FISSURED else None for disc in graded
    )
    nodes = tuple(_node(rng) for _ in range(int(rng.integers(1, 4)))) if rng.random() < _WITH_NODES else ()
    cysts = tuple(
        _cyst(in_canal, rng)
        for in_canal, share in ((False, _CYST_BEHIND), (True, _CYST_BEFORE))
        if rng.random() < share
    )
    operated: frozenset[int] = frozenset()
    if rng.random() < _OPERATED:
        first = FIRST_SACRAL - 1 - int(rng.integers(0, 3))
        operated = frozenset(range(max(FIRST_LUMBAR, first - int(rng.integers(0, 2))), first + 1))
    return Lesions(hernias, fissures, nodes, cysts, operated)


def _hernia(rng: np.random.Generator) -> Hernia:
    """A fifth is central, the others lie beside the midline; a third has a fragment that moved 5 to 12 mm."""
    half_width = float(rng.uniform(4.0, 7.5))
    off = rng.normal(0.0, 0.15) if rng.random() < 0.2 else rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 0.85)
    moved = rng.uniform(5.0, 12.0) * rng.choice([-1.0, 1.0]) if rng.random() < 0.35 else 0.0
    return Hernia(float(off) * half_width, half_width, float(rng.uniform(0.5, 0.95)), float(moved))


def _node(rng: np.random.Generator) -> Node:
    """Half lie beside the discs of L1 to L3; 4 to 10 mm wide, 3 to 6 mm deep."""
    upper = rng.random() < 0.5
    disc = int(rng.integers(FIRST_LUMBAR, FIRST_LUMBAR + 3) if upper else rng.integers(1, FIRST_SACRAL))
    place = rng.uniform([-0.35, -0.45], [0.35, 0.45]).tolist()
    return Node(
        disc, bool(rng.random() < 0.5), (place[0], place[1]), float(rng.uniform(2.0, 5.0)), float(rng.uniform(3.0, 6.0))
    )


def _cyst(in_canal: bool, rng: np.random.Generator) -> Cyst:
    level = list(Level)[int(rng.choice(len(Level), p=[0.02, 0.05, 0.15, 0.6, 0.18]))]
    return Cyst(level, list(Side)[int(rng.integers(2))], float(rng.uniform(2.0, 4.5)), in_canal)
