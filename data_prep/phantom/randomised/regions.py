"""The coarse label map that a localiser learns beside its points."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from data_prep.phantom.anatomy import FIRST_SACRAL, Anatomy
from data_prep.phantom.canvas import Patch
from data_prep.phantom.profiles import Profiles
from data_prep.phantom.tissue import Tissue

Labels = npt.NDArray[np.uint8]


class Region(IntEnum):
    """What a voxel belongs to."""

    BACKGROUND = 0
    BODY = 1
    DISC = 2
    CANAL = 3
    SACRUM = 4


_BONE = (Tissue.CORTEX, Tissue.MARROW, Tissue.VEIN)
_SAC = (Tissue.CSF, Tissue.NERVE, Tissue.CORD)
_FLANK = 30.0
"""Bodies and discs reach no farther than this from the midline, mm."""


def of_tissues(person: Anatomy, patch: Patch) -> Labels:
    """Regions of painted samples: bodies and discs in front of the posterior wall, the thecal sac, the sacrum."""
    profiles = Profiles.of(person)
    wall = profiles.wall[profiles.rows(patch.s)]
    first = person.vertebrae[FIRST_SACRAL]
    sacral = patch.s < first.s + first.height / 2 + 0.5
    front = (patch.a > wall - 1.0) & (patch.side < _FLANK)
    bone = np.isin(patch.tissue, _BONE)
    regions = np.zeros(patch.tissue.shape, dtype=np.uint8)
    regions[bone & front & ~sacral] = Region.BODY
    regions[bone & sacral & (patch.side < 60.0)] = Region.SACRUM
    nucleus = (patch.tissue >= Tissue.NUCLEUS) & (patch.tissue < Tissue.NUCLEUS + len(person.discs))
    disc = (patch.tissue == Tissue.ANNULUS) | nucleus
    regions[disc & front & ~(sacral & (patch.s < first.s))] = Region.DISC
    inside = (patch.side < 10.0) & (patch.a < wall) & (patch.a > wall - 19.0)
    regions[np.isin(patch.tissue, _SAC) & inside] = Region.CANAL
    return regions
