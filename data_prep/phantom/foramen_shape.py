"""The shape of a neural foramen: a keyhole, which disc, facet and osteophytes close from below and from behind.

Measures of Khalaf et al. (MR: height 18.0 mm, width at the disc 5.6 mm, area 115 mm²) and Hasegawa et al. 1995.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.curve import Field
from data_prep.phantom.vertebrae import Vertebra
from monai_spine.geometry import Array

PEDICLE = 7.2
"""A foramen ends this far from the middles of the pedicles above and below it, in mm."""
ROWS = 65
_PLACES = np.linspace(0.0, 1.0, ROWS)
"""Heights within a foramen from 0 at its lower to 1 at its upper end."""
_WIDTH = np.interp(_PLACES, [0.0, 0.2, 0.42, 0.62, 0.85, 0.94, 1.0], [2.6, 4.6, 5.9, 8.6, 9.2, 7.5, 3.5])
"""Width of a free foramen: a slit below, a waist at disc and facet, and a wide upper lobe."""
_HEIGHT = 18.5
"""Height of a free foramen in mm."""
ROOT_PLACE = 0.72
"""The root lies in the upper third."""


@dataclass(frozen=True)
class ForamenShape:
    """A foramen in the sagittal plane: where fat and root begin and end behind the body, in mm."""

    low: float
    high: float
    """Heights ``s`` of the pedicles below and above it."""
    front: Field
    back: Field
    """``(ROWS,)`` from below; where ``back`` is not behind ``front``, the foramen is closed."""
    free_back: Field
    """Where facet, capsule and flavum begin in a free foramen."""
    side: float
    """Distance of its middle from the midline."""
    half_width: float
    half_depth: float
    """Half the width and depth of the bodies beside it: their outline is its front."""
    root: float
    """Factor of the root's size."""

    @classmethod
    def of(
        cls, vertebrae: tuple[Vertebra, Vertebra], disc: float, area: float, free: float, rng: np.random.Generator
    ) -> ForamenShape:
        """A foramen of ``area`` mm² between two vertebrae, which would have ``free`` mm² if nothing narrowed it.

        ``disc`` is the height of the disc between them.
        """
        upper, lower = vertebrae
        low, high = lower.pedicle + PEDICLE, upper.pedicle - PEDICLE
        height = max(high - low, 6.0)
        disc_place = np.clip((disc - low) / height, 0.1, 0.7)
        at_disc = np.exp(-(((_PLACES - disc_place + 0.06) / 0.22) ** 2))
        at_facet = np.exp(-(((_PLACES - 0.38) / 0.24) ** 2))
        below = np.clip((0.55 - _PLACES) / 0.3, 0.0, 1.0)
        lobe = np.exp(-(((_PLACES - 0.8) / 0.2) ** 2))
        disc_part, facet_part, low_part, lobe_part = (rng.dirichlet([4.0, 4.0, 3.0, 2.5]) * [1, 1, 1, 0.7]).tolist()
        from_front = disc_part * at_disc + 0.5 * low_part * below + 0.4 * lobe_part * lobe + 0.05
        from_behind = facet_part * at_facet + 0.5 * low_part * below + 0.6 * lobe_part * lobe + 0.05
        free_front = 0.3 + 1.0 * at_disc - 0.6 * lobe
        free_width = _WIDTH * free / (_WIDTH.mean() * _HEIGHT)
        closing = np.linspace(-4.0, 60.0, 65)[:, None]
        widths = np.maximum(0.0, free_width - closing * (from_front + from_behind))
        areas = widths.mean(axis=1) * height
        q = float(np.interp(-area, -areas, closing[:, 0]))
        front, back = free_front + q * from_front, free_front + free_width - q * from_behind
        side = 0.65 * upper.pedicle_side + 0.35 * lower.pedicle_side
        width, depth = 0.475 * min(upper.width, lower.width), (upper.depth + lower.depth) / 4
        front, back, free_back = (values.astype(np.float32) for values in (front, back, free_front + free_width))
        return cls(low, low + height, front, back, free_back, side, width, depth, float(rng.uniform(0.85, 1.15)))

    def ahead(self, side: Field | float) -> Field:
        """How far in front of the posterior wall at the midline the body's outline lies, ``side`` mm beside it."""
        across = np.square(np.minimum(np.asarray(side, dtype=np.float32) / np.float32(self.half_width), 0.97))
        along = np.sqrt(np.maximum(np.float32(9.0) - 4.0 * across * (1.0 + across), 1.0)) / 2.0 - 0.5
        return np.asarray(np.float32(self.half_depth) * (np.float32(0.96) - np.sqrt(along)), dtype=np.float32)

    @property
    def middle(self) -> Array:
        """``behind`` and height ``s`` of its middle."""
        return np.array([4.8 - float(self.ahead(self.side)), (self.low + self.high) / 2])

    def rows(self, s: Field) -> np.ndarray:
        """The rows of the tables at heights ``s``."""
        place = (s - np.float32(self.low)) * np.float32((ROWS - 1) / (self.high - self.low)) + np.float32(0.5)
        return np.clip(place, 0, ROWS - 1).astype(np.int32)

    @property
    def root_place(self) -> Array:
        """Distance behind the body and height ``s`` of the root's middle: in what is left of the upper lobe."""
        row = int(ROOT_PLACE * (ROWS - 1))
        middle = (float(self.front[row]) + float(self.back[row])) / 2 if self.back[row] > self.front[row] else 4.0
        return np.array([0.4 * middle + 0.6 * 4.3, self.low + ROOT_PLACE * (self.high - self.low)])
