"""What is unusual about a person's spine: transitional vertebrae, a slipped vertebra, a haemangioma."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from data_prep.phantom.quirks import Quirk
from monai_spine.spine import Level


class Transition(Enum):
    """Where the lumbar spine ends and the sacrum begins."""

    USUAL = "usual"
    L6 = "l6"
    SACRALISED_L5 = "sacralised-l5"


@dataclass(frozen=True)
class Slip:
    """The vertebra above the disc of a level has slipped forwards by ``amount`` mm."""

    level: Level
    amount: float


@dataclass(frozen=True)
class Haemangioma:
    """A ball in a vertebral body.

    Attributes
    ----------
    above_sacrum
        0 for the lowest body above the sacrum, 1 for the one above it, and so on.
    place
        Offset of its middle from the body's middle: right, anterior and up, in halves of the body's size.
    radius
        Radius in mm.
    """

    above_sacrum: int
    place: tuple[float, float, float]
    radius: float


@dataclass(frozen=True)
class Variants:
    """What is unusual about a person; nothing by default."""

    transition: Transition = Transition.USUAL
    slip: Slip | None = None
    haemangioma: Haemangioma | None = None
    pulsating: bool = False
    """Whether cerebrospinal fluid moves fast enough to lose its signal on T2."""

    def describe(self) -> dict[Quirk, str]:
        """The column ``detail`` of `quirks.csv` for each variant."""
        details = {}
        if self.transition is Transition.L6:
            details[Quirk.L6] = f"{Level.L1_L2.value} is L2/L3, {Level.L5_S1.value} is L6/S1"
        elif self.transition is Transition.SACRALISED_L5:
            details[Quirk.SACRALISED_L5] = f"{Level.L1_L2.value} is T12/L1, {Level.L5_S1.value} is L4/L5"
        if self.slip is not None:
            details[Quirk.SPONDYLOLISTHESIS] = f"{self.slip.amount:.1f} mm at {self.slip.level.value}"
        if self.haemangioma is not None:
            above = list(Level)[-1 - self.haemangioma.above_sacrum]
            details[Quirk.HAEMANGIOMA] = f"{2 * self.haemangioma.radius:.0f} mm, in the body above {above.value}"
        return details


NORMAL = Variants()
SLIPS = {Level.L3_L4: 0.15, Level.L4_L5: 0.60, Level.L5_S1: 0.25}
"""Shares of slips by level."""


def draw_variants(quirks: frozenset[Quirk], rng: np.random.Generator) -> Variants:
    """The variants that belong to some quirks."""
    # All random numbers are drawn whatever the quirks, so that one variant does not change another.
    level = list(SLIPS)[int(rng.choice(len(SLIPS), p=list(SLIPS.values())))]
    slip = Slip(level, float(rng.uniform(4.0, 11.0)))
    place = tuple(rng.uniform([-0.45, -0.4, -0.3], [0.45, 0.4, 0.3]).tolist())
    haemangioma = Haemangioma(int(rng.integers(len(Level))), place, float(rng.uniform(5.0, 10.0)))
    transition = Transition.L6 if Quirk.L6 in quirks else Transition.USUAL
    return Variants(
        Transition.SACRALISED_L5 if Quirk.SACRALISED_L5 in quirks else transition,
        slip if Quirk.SPONDYLOLISTHESIS in quirks else None,
        haemangioma if Quirk.HAEMANGIOMA in quirks else None,
        Quirk.FLOW_VOID in quirks,
    )
