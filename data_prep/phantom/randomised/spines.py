"""One person beyond the realistic: bent, worn, stretched; and where the landmarks of the spine lie."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data_prep.phantom import anatomy as people
from data_prep.phantom import disease, variants
from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.arch import pedicle_height
from data_prep.phantom.canal import FORAMEN_SIDE
from data_prep.phantom.curve import REACH, STEP, SpineCurve
from data_prep.phantom.disease import Disease
from data_prep.phantom.quirks import Quirk
from data_prep.phantom.variants import Variants
from monai_spine.geometry import Array


@dataclass(frozen=True)
class Landmarks:
    """Points of a spine, RAS mm, from above; ``canal`` and ``foramen`` belong to all discs above the sacrum.

    Attributes
    ----------
    canal
        Middle of the thecal sac at each disc, ``(discs, 3)``; the last is the lumbosacral disc's.
    foramen
        Middles of the foramina, left then right, ``(discs, 2, 3)``.
    """

    canal: Array
    foramen: Array


_VARIANTS = {
    Quirk.L6: 0.08,
    Quirk.SACRALISED_L5: 0.08,
    Quirk.SPONDYLOLISTHESIS: 0.15,
    Quirk.HAEMANGIOMA: 0.15,
    Quirk.FLOW_VOID: 0.15,
}
"""Shares of what is unusual about a person, several times what it is among patients."""


def usual(rng: np.random.Generator) -> Anatomy:
    """A person as `phantom` draws them for a cohort, with more variants."""
    return people.draw(disease.draw(rng), rng, np.zeros(3), _variants(rng))


def draw(rng: np.random.Generator) -> Anatomy:
    """A person with the disease, posture and tissues of nobody in particular."""
    illness = _worse(disease.draw(rng), rng)
    person = people.draw(illness, rng, np.zeros(3), _variants(rng))
    return replace(
        person,
        curve=_bent(person.curve, rng),
        discs=tuple(replace(disc, hydration=float(rng.uniform(0.0, 1.0))) for disc in person.discs),
        conus=person.conus + float(rng.uniform(-25.0, 25.0)),
        fat=float(rng.uniform(2.0, 50.0)),
        streaks=float(rng.uniform(0.0, 0.6)),
    )


def landmarks(person: Anatomy) -> Landmarks:
    """Where the canal and the foramina of every disc above the sacrum lie."""
    mobile = [i for i, body in enumerate(person.vertebrae) if not body.sacral]
    canal = [_canal(person, person.discs[i].s) for i in mobile]
    foramen = [
        [_foramen(person, i, sign) for sign in (-1.0, 1.0)]
        for i in mobile
    ]  # fmt: skip
    return Landmarks(person.curve.to_world(np.array(canal)), person.curve.to_world(np.array(foramen)))


def _canal(person: Anatomy, s: float) -> list[float]:
    height = np.array(s)
    return [0.0, float(person.sac_front(height) - person.sac_ap(height) / 2), s]


def _foramen(person: Anatomy, upper: int, sign: float) -> list[float]:
    """Between the pedicles of a vertebra and of the next one, as `canal.foramen_point` has it."""
    s = (pedicle_height(person.vertebrae[upper]) + pedicle_height(person.vertebrae[upper + 1])) / 2
    return [sign * FORAMEN_SIDE, person.wall(s) - 5.0, s]


def _variants(rng: np.random.Generator) -> Variants:
    return variants.draw(frozenset(quirk for quirk, share in _VARIANTS.items() if rng.random() < share), rng)


def _worse(illness: Disease, rng: np.random.Generator) -> Disease:
    """Any severity may stand at any level."""
    severity = illness.severity + rng.uniform(-0.5, 1.5) + rng.normal(0.0, 0.7, illness.severity.shape)
    return Disease(severity, disease.measures(severity))


def _bent(curve: SpineCurve, rng: np.random.Generator) -> SpineCurve:
    """From flat back to deep lordosis, with scoliosis to about 20 mm and rotation to about 15 degrees."""
    heights = SpineCurve.heights()
    sway = np.radians(rng.normal(0.0, 6.0)) * np.sin(2 * np.pi * (heights / rng.uniform(200, 500) + rng.random()))
    tilt = curve.tilt * rng.uniform(0.2, 1.35) + sway
    side = rng.normal(0.0, 8.0) * np.sin(2 * np.pi * (heights / rng.uniform(180, 450) + rng.random()))
    twist = np.radians(rng.normal(0.0, 6.0)) * np.sin(2 * np.pi * (heights / (2 * REACH) + rng.random()))
    steepest = np.abs(np.gradient(tilt, STEP)).max() * 60.0  # a body 60 mm from the curve must not fold over itself
    return SpineCurve.from_tilt(curve.origin, tilt / max(1.0, steepest / 1.4), side, twist)
