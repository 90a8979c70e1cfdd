"""The level localizer: from one sagittal volume to named points, with the network and weights of a bundle."""

from __future__ import annotations

import numpy as np
import torch

from monai_spine.bundle.shipped import LEVEL_LOCALIZER
from monai_spine.data.volume import Volume
from monai_spine.levels.localizer import Localizer
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.landmark_maps import map_affine, probabilities
from monai_spine.levels.sagittal.points import SpinePoints, read_maps

_MOST_SLICES = 40
"""Slices that go through the network at once; a larger volume would need memory in proportion."""
_OVERLAP = 6
"""Slices on each side of a part whose maps are not used. The network's convolutions reach across three slices, so these
maps would be wrong at the cut."""


class LevelLocator(Localizer):
    """Finds the discs of the lumbar spine and their foramina in one sagittal volume.

    Its network gives logits of `LANDMARKS`, then of `REGIONS`.
    """

    SHIPPED = LEVEL_LOCALIZER
    OPTION = "--model"

    def __call__(self, volume: Volume, name: str) -> SpinePoints:
        """Named points of a volume; ``name`` is for error messages.

        Raises
        ------
        InvalidVolumeError
            If its slices are not sagittal, or all its voxels have nearly the same value.
        """
        image, affine = sagittal_grid(volume, name)
        return read_maps(self.maps(image), map_affine(affine), image.shape, affine)

    @torch.no_grad()
    def maps(self, image: torch.Tensor) -> np.ndarray:
        """Maps of landmarks and regions, from 0 to 1, ``(8, x, y / 2, z / 2)``, of an image ``(x, y, z)``."""
        slices = len(image)
        step = _MOST_SLICES - 2 * _OVERLAP
        parts = []
        for start in range(0, slices, step):
            if start and start + _OVERLAP >= slices:
                break
            low, high = max(0, start - _OVERLAP), min(slices, start + step + _OVERLAP)
            maps = probabilities(self.network(image[None, None, low:high].to(self.device))[0])
            # The first and the last part keep the slices at their outer end, where there is no overlap.
            last = high == slices
            parts.append(maps[:, start - low : None if last else start - low + step].cpu())
            if last:
                break
        return np.asarray(torch.cat(parts, dim=1).numpy(), dtype=np.float64)
