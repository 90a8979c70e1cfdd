"""The canal along the spine as tables over height, so that painting looks values up instead of computing them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.phantom.anatomy import Anatomy
from data_prep.phantom.canvas import Field
from monai_spine.geometry import Array

STEP = 0.25


@dataclass(frozen=True)
class Profiles:
    """Values every ``STEP`` mm from height ``start``: ``a`` of the posterior wall and of the sac's front, the sac's
    half depth and half width, and the bulge of the discs, all mm."""

    start: float
    wall: Field
    front: Field
    half_depth: Field
    half_width: Field
    bulge: Field

    @classmethod
    def of(cls, anatomy: Anatomy) -> Profiles:
        """The tables of a person, from S3 to T10."""
        start, stop = anatomy.vertebrae[-1].s - 20.0, anatomy.vertebrae[0].s + 20.0
        s = np.arange(start, stop, STEP)
        depth = anatomy.sac_ap(s)
        tables = (
            anatomy.posterior_wall(s),
            anatomy.sac_front(s),
            depth / 2,
            _half_width(depth),
            anatomy.bulge(s),
        )
        return cls(start, *(table.astype(np.float32) for table in tables))

    def rows(self, s: Field) -> np.ndarray:
        """Where in the tables heights ``s`` lie."""
        place = (s - np.float32(self.start)) * np.float32(1 / STEP) + np.float32(0.5)
        return np.clip(place, 0, len(self.wall) - 1).astype(np.int32)


def _half_width(depth: Array) -> Array:
    """A narrowed sac is also slimmer."""
    return np.interp(depth, [0.3, 4.0, 9.0, 16.0], [0.8, 5.8, 8.0, 9.0])
