"""Tissues and their magnetic properties."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto


class Tissue(IntEnum):
    """What a sample is made of; the value is its number in a label map."""

    AIR = 0
    FAT = auto()
    MUSCLE = auto()
    VISCERA = auto()
    BOWEL = auto()
    FLOWING_BLOOD = auto()
    CORTEX = auto()
    MARROW = auto()
    VEIN = auto()
    ANNULUS = auto()
    LIGAMENT = auto()
    CARTILAGE = auto()
    CSF = auto()
    NERVE = auto()
    CORD = auto()
    SKIN = auto()
    HAEMANGIOMA = auto()
    FLOWING_CSF = auto()
    INTERSPINOUS = auto()
    KIDNEY = auto()
    NUCLEUS = auto()
    """Nucleus of the first disc; the following numbers are those of the discs below it."""


@dataclass(frozen=True)
class Relaxation:
    """Proton density (water = 1), T1 and T2 in ms at 1.5 T, and the factor by which T1 grows at 3 T."""

    density: float
    t1: float
    t2: float
    growth: float = 1.2


RELAXATION = {
    # After Stanisz et al. 2005, de Bazelaire et al. 2004 and Gold et al. 2004, rounded; fat with the long apparent T2
    # of fast spin echo, solids with the little signal that partial volume leaves them.
    Tissue.AIR: Relaxation(0.0, 1000.0, 50.0),
    Tissue.FAT: Relaxation(0.95, 290.0, 95.0, 1.25),
    Tissue.MUSCLE: Relaxation(0.85, 1000.0, 42.0, 1.35),
    Tissue.VISCERA: Relaxation(0.80, 800.0, 55.0),
    Tissue.BOWEL: Relaxation(0.55, 1100.0, 60.0),
    Tissue.FLOWING_BLOOD: Relaxation(0.12, 1000.0, 60.0),
    Tissue.CORTEX: Relaxation(0.10, 900.0, 12.0),
    Tissue.MARROW: Relaxation(0.78, 520.0, 72.0, 1.15),
    Tissue.VEIN: Relaxation(0.90, 1100.0, 110.0),
    Tissue.ANNULUS: Relaxation(0.70, 900.0, 35.0),
    Tissue.LIGAMENT: Relaxation(0.50, 900.0, 30.0),
    Tissue.CARTILAGE: Relaxation(0.85, 1200.0, 75.0),
    Tissue.CSF: Relaxation(1.00, 3200.0, 900.0, 1.0),
    Tissue.NERVE: Relaxation(0.78, 900.0, 70.0, 1.1),
    Tissue.CORD: Relaxation(0.80, 850.0, 78.0, 1.15),
    Tissue.SKIN: Relaxation(0.60, 800.0, 35.0),
    Tissue.HAEMANGIOMA: Relaxation(0.95, 380.0, 120.0, 1.15),
    Tissue.INTERSPINOUS: Relaxation(0.72, 520.0, 62.0),
    Tissue.KIDNEY: Relaxation(0.85, 950.0, 76.0),
    Tissue.FLOWING_CSF: Relaxation(1.00, 3200.0, 60.0, 1.0),
}


def nucleus(hydration: float) -> Relaxation:
    """A nucleus pulposus: its T2 falls from about 125 ms to 40 ms as it dries out, most of it early on."""
    return Relaxation(0.60 + 0.32 * hydration, 850.0 + 400.0 * hydration, 38.0 + 87.0 * hydration**1.6)
