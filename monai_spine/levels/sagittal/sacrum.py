"""The vote for a sacrum below a disc, from the region map and the peaks of the lumbosacral map.

`chain` anchors the levels at the disc with the highest vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from monai_spine.geometry import Array, to_voxel
from monai_spine.levels.sagittal.chain import Disc
from monai_spine.levels.sagittal.landmark_maps import REGIONS
from monai_spine.levels.sagittal.peaks import Peak

_SAME_DISC_MM = 14.0
"""Largest distance between a canal peak and a lumbosacral peak of the same disc."""
_AHEAD_MM, _ALONG_MM = 18.0, 22.0
"""From the canal at a disc to the middle of the bodies above and below it: forwards, and along the spine."""
_SAMPLES_MM = np.array([[0.0, forwards, upwards] for forwards in (-6.0, 0.0, 6.0) for upwards in (-6.0, 0.0, 6.0)])
"""Offsets at which regions are sampled around the middle of a body, so that one wrong voxel does not decide."""
_DOUBT = 0.05
"""Added to the probability of bone, so that the share is near 0 where there is hardly any bone."""


@dataclass(frozen=True)
class Sacrum:
    """The network's answer about the sacrum in one volume.

    Attributes
    ----------
    regions
        Probabilities ``(len(REGIONS), x, y, z)``.
    affine
        ``(4, 4)`` from their voxels to RAS mm.
    peaks
        Peaks of the lumbosacral map.
    """

    regions: Array
    affine: Array
    peaks: Sequence[Peak]

    def below(self, disc: Disc) -> float:
        """The vote for a sacrum below a disc, from 0 to 1.

        It is the larger of two values: the probability that the bone below is sacral and the bone above is not; and the
        height of the highest lumbosacral peak at the disc.
        """
        # The bone tells more than the peak: on 12 phantom volumes .31 to .88 at the lumbosacral disc, at most .14
        # elsewhere, at a time when the lumbosacral map had .21 to .39 there and up to .26 elsewhere.
        regions = self._sacral_share(disc, -_ALONG_MM) * (1.0 - self._sacral_share(disc, _ALONG_MM))
        near = [peak.height for peak in self.peaks if np.linalg.norm(peak.world - disc.canal) <= _SAME_DISC_MM]
        return max(regions, *near) if near else regions

    def _sacral_share(self, disc: Disc, along: float) -> float:
        """The sacrum's share of the bone in front of the canal, ``along`` mm up the spine from a disc."""
        up = disc.upwards
        forwards = np.array([0.0, up[2], -up[1]]) / max(float(np.hypot(up[1], up[2])), 1e-6)
        place = disc.canal + _AHEAD_MM * forwards + along * up
        voxels = to_voxel(self.affine, place + _SAMPLES_MM).T
        body, sacrum = (
            float(map_coordinates(self.regions[REGIONS.index(name)], voxels, order=1, mode="nearest").mean())
            for name in ("body", "sacrum")
        )
        return sacrum / (body + sacrum + _DOUBT)
