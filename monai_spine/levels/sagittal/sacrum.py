"""Where the sacrum begins: what the regions say of the bone above and below a disc, and the lumbosacral peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from monai_spine.geometry import Array, to_voxel
from monai_spine.levels.sagittal.chain import Disc
from monai_spine.levels.sagittal.landmark_maps import REGIONS
from monai_spine.levels.sagittal.peaks import Peak

_SAME_DISC = 14.0
"""Millimetres between a canal's and a lumbosacral peak of one disc."""
_AHEAD, _ALONG = 18.0, 22.0
"""From the canal at a disc to the middle of the bodies above and below it: forwards, and along the spine; mm."""
_AROUND = np.array([[0.0, forwards, upwards] for forwards in (-6.0, 0.0, 6.0) for upwards in (-6.0, 0.0, 6.0)])
_DOUBT = 0.05
"""Probability of bone below which there is nothing to say."""


@dataclass(frozen=True)
class Sacrum:
    """What a network says of the sacrum in one volume.

    Attributes
    ----------
    regions
        Probabilities ``(len(REGIONS), x, y, z)``.
    affine
        From their voxels to RAS mm.
    peaks
        Of the lumbosacral map.
    """

    regions: Array
    affine: Array
    peaks: Sequence[Peak]

    def below(self, disc: Disc) -> float:
        """From 0 to 1, how much it looks as if the sacrum began below a disc.

        The larger of two: the bone below is sacral and the bone above is not; the nearest lumbosacral peak's height.
        """
        regions = self._share(disc, -_ALONG) * (1.0 - self._share(disc, _ALONG))
        near = [peak.height for peak in self.peaks if np.linalg.norm(peak.world - disc.canal) <= _SAME_DISC]
        return max(regions, *near) if near else regions

    def _share(self, disc: Disc, along: float) -> float:
        """The sacrum's share of the bone in front of the canal, at a height along the spine from a disc."""
        up = disc.upwards
        forwards = np.array([0.0, up[2], -up[1]]) / max(float(np.hypot(up[1], up[2])), 1e-6)
        place = disc.canal + _AHEAD * forwards + along * up
        voxels = to_voxel(self.affine, place + _AROUND).T
        body, sacrum = (
            float(map_coordinates(self.regions[REGIONS.index(name)], voxels, order=1, mode="nearest").mean())
            for name in ("body", "sacrum")
        )
        return sacrum / (body + sacrum + _DOUBT)
