"""Grey values of tissues: half by physics with everything jittered, half by chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.canvas import Field
from data_prep.phantom.signal import Sequence, stir, strength
from data_prep.phantom.tissue import RELAXATION, Relaxation, Tissue, nucleus

BY_CHANCE = 0.45
"""Share of images whose grey values follow no physics."""
NUMBERS = 256
FOREIGN = 200
"""Numbers from here on are structures of no anatomy."""


def table(person: Anatomy, rng: np.random.Generator, *, by_chance: float = BY_CHANCE) -> Field:
    """Grey value of every number in a label map, ``(256,)``, the brightest tissue at 1.

    ``by_chance`` is the share of tables that follow no physics.
    """
    values = _by_chance(len(person.discs), rng) if rng.random() < by_chance else _by_physics(person, rng)
    values[FOREIGN:] = rng.uniform(0.0, 0.8, NUMBERS - FOREIGN) * values.max()
    return (values / max(float(values.max()), 1e-6)).astype(np.float32)


def _by_chance(discs: int, rng: np.random.Generator) -> Field:
    """A grey value of its own for every tissue; discs are alike, or each is what it likes."""
    values = rng.uniform(0.0, 1.0, NUMBERS)
    values[Tissue.AIR] = 0.0 if rng.random() < 0.8 else rng.uniform(0.0, 0.3)
    if rng.random() < 0.7:  # tissues that no sequence tells apart by much
        values[Tissue.NERVE] = values[Tissue.CORD] = rng.uniform()
        values[Tissue.SKIN] = values[Tissue.MUSCLE]
    if rng.random() < 0.6:
        values[Tissue.NUCLEUS : Tissue.NUCLEUS + discs] = rng.uniform() + rng.normal(0.0, 0.08, discs)
    return np.clip(values, 0.0, 1.2).astype(np.float32)


def _by_physics(person: Anatomy, rng: np.random.Generator) -> Field:
    sequence, field = _sequence(rng)
    values = np.zeros(NUMBERS, dtype=np.float32)
    for tissue, relaxation in RELAXATION.items():
        values[tissue] = strength(_jittered(relaxation, rng), sequence, field)
    for i, disc in enumerate(person.discs):
        values[Tissue.NUCLEUS + i] = strength(_jittered(nucleus(disc.hydration), rng), sequence, field)
    return values


def _sequence(rng: np.random.Generator) -> tuple[Sequence, float]:
    """T1, T2, proton density or STIR with timing over more than the usual range, at 0.5 to 3 T."""
    field = float(rng.uniform(0.5, 3.0))
    kind = rng.choice(4, p=[0.35, 0.45, 0.05, 0.15])
    if kind == 0:
        return Sequence(float(rng.uniform(350, 900)), float(rng.uniform(7, 25))), field
    if kind == 1:
        return Sequence(float(rng.uniform(2000, 6000)), float(rng.uniform(60, 160))), field
    if kind == 2:
        return Sequence(float(rng.uniform(1500, 4000)), float(rng.uniform(10, 40))), field
    nulled = stir(field)
    return replace(
        nulled, echo=float(rng.uniform(25, 90)), inversion=(nulled.inversion or 0) * float(rng.uniform(0.85, 1.15))
    ), field


def _jittered(tissue: Relaxation, rng: np.random.Generator) -> Relaxation:
    density, t1, t2 = np.exp(rng.normal(0.0, [0.08, 0.15, 0.2]))
    return replace(tissue, density=tissue.density * density, t1=tissue.t1 * t1, t2=tissue.t2 * t2)
