"""Persons beyond the realistic: bent, worn and stretched; and the landmarks of their spines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data_prep.phantom.anatomy.curve import EXTENT, STEP, SpineCurve
from data_prep.phantom.anatomy.disease import Disease, draw_disease, measures
from data_prep.phantom.anatomy.person import Anatomy, draw_person
from data_prep.phantom.anatomy.variants import Variants, draw_variants
from data_prep.phantom.quirks import Quirk
from monai_spine.geometry import Array
from monai_spine.spine import Side

USUAL = 0.35
"""Share of persons that are drawn as for a cohort. Together with one normaliser per type of landmark in the loss, they
took the level localizer on T1 volumes of cohorts from 22 uncertain and 5 wrong levels to none of either."""


_VARIANTS = {
    Quirk.L6: 0.08,
    Quirk.SACRALISED_L5: 0.08,
    Quirk.SPONDYLOLISTHESIS: 0.15,
    Quirk.HAEMANGIOMA: 0.15,
    Quirk.FLOW_VOID: 0.15,
}
"""Shares of unusual findings, several times those among patients."""


def draw(rng: np.random.Generator) -> tuple[Anatomy, bool]:
    """A person, and whether it is a usual one."""
    is_usual = bool(rng.random() < USUAL)
    return (draw_usual if is_usual else draw_unusual)(rng), is_usual


def draw_usual(rng: np.random.Generator) -> Anatomy:
    """A person as in a phantom cohort, with more variants."""
    return draw_person(draw_disease(rng), rng, np.zeros(3), _variants(rng))


def draw_unusual(rng: np.random.Generator) -> Anatomy:
    """A person with more disease, in any posture, and with any hydration, conus and fat."""
    worse = _worse(draw_disease(rng), rng)
    usual = draw_person(worse, rng, np.zeros(3), _variants(rng))
    return replace(
        usual,
        curve=_bent(usual.curve, rng),
        discs=tuple(replace(disc, hydration=float(rng.uniform(0.0, 1.0))) for disc in usual.discs),
        conus=usual.conus + float(rng.uniform(-25.0, 25.0)),
        fat=float(rng.uniform(2.0, 50.0)),
        streaks=float(rng.uniform(0.0, 0.6)),
    )


def landmarks(anatomy: Anatomy) -> tuple[Array, Array]:
    """Points in RAS mm at every disc above the sacrum, from above; the last disc is the lumbosacral one.

    Returns
    -------
    The middles of the thecal sac, ``(discs, 3)``, and of the foramina, left then right, ``(discs, 2, 3)``.
    """
    mobile = [i for i, body in enumerate(anatomy.vertebrae) if not body.sacral]
    canal = [anatomy.sac_middle(anatomy.discs[i].s) for i in mobile]
    foramen = [[anatomy.foramen_below(i, side) for side in (Side.LEFT, Side.RIGHT)] for i in mobile]
    return anatomy.curve.to_world(np.array(canal)), anatomy.curve.to_world(np.array(foramen))


def _variants(rng: np.random.Generator) -> Variants:
    return draw_variants(frozenset(quirk for quirk, share in _VARIANTS.items() if rng.random() < share), rng)


def _worse(usual: Disease, rng: np.random.Generator) -> Disease:
    """More disease, and less correlated: every level may have every severity."""
    severity = usual.severity + rng.uniform(-0.5, 1.5) + rng.normal(0.0, 0.7, usual.severity.shape)
    return Disease(severity, measures(severity))


def _bent(curve: SpineCurve, rng: np.random.Generator) -> SpineCurve:
    """From flat back to deep lordosis, with scoliosis to about 20 mm and rotation to about 15 degrees; without slip."""
    heights = SpineCurve.heights()
    sway = np.radians(rng.normal(0.0, 6.0)) * np.sin(2 * np.pi * (heights / rng.uniform(200, 500) + rng.random()))
    tilt = curve.tilt * rng.uniform(0.2, 1.35) + sway
    side = rng.normal(0.0, 8.0) * np.sin(2 * np.pi * (heights / rng.uniform(180, 450) + rng.random()))
    twist = np.radians(rng.normal(0.0, 6.0)) * np.sin(2 * np.pi * (heights / (2 * EXTENT) + rng.random()))
    steepest = np.abs(np.gradient(tilt, STEP)).max() * 60.0  # a body 60 mm from the curve must not fold over itself
    return SpineCurve.from_tilt(curve.origin, tilt / max(1.0, steepest / 1.4), side, twist)
