"""The regions of the spine on a fine grid: the level localizer's network with weights of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monai_spine.bundle.shipped import LEVEL_LOCALIZER
from monai_spine.data.volume import Volume
from monai_spine.geometry import Array, to_voxel
from monai_spine.levels.localizers import Localizer
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.maps import LANDMARKS, map_affine, probabilities
from monai_spine.levels.sagittal.region_maps import RegionMaps

STEP_MM = 0.8
"""Voxel size in the slices that the weights were trained with; the maps have twice as much."""
_BEFORE_MM, _AFTER_MM = (25.0, 45.0), (65.0, 55.0)
"""Margins of the window around the canal's points: behind and below, then in front and above."""
_SLICES = 12
"""Most slices of the window: the network was trained on so many, which hold the canal if they are 2.6 mm apart."""


class RegionFinder(Localizer):
    """Finds bodies, discs, canal and sacrum around the levels of one sagittal volume.

    Its network gives logits of `LANDMARKS`, which are not used, then of `REGIONS`.
    """

    SHIPPED = LEVEL_LOCALIZER
    OPTION = "bundle="
    WEIGHTS = "models/regions_spider.pt"
    SHAPE = (None, 1, None, None, None)

    def __call__(self, volume: Volume, name: str, canal: Array) -> RegionMaps:
        """The regions in a window around canal points ``(n, 3)``, RAS mm. ``name`` is for error messages.

        Raises `InvalidVolumeError` if the slices are not sagittal, or all voxels have nearly the same value.
        """
        image, affine = sagittal_grid(volume, name, STEP_MM)
        places = to_voxel(affine, canal)
        low, high = places.min(axis=0), places.max(axis=0)
        middle = (low[0] + high[0]) / 2
        first = [middle - (_SLICES - 1) / 2, *(low[1:] - np.array(_BEFORE_MM) / STEP_MM)]
        last = [middle + (_SLICES - 1) / 2, *(high[1:] + np.array(_AFTER_MM) / STEP_MM)]
        start = np.clip(np.round(first), 0, np.array(image.shape) - 1).astype(int)
        stop = np.clip(np.round(last) + 1, start + 1, image.shape).astype(int)
        window = image[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        shift = np.eye(4)
        shift[:3, 3] = start
        maps: npt.NDArray[Any] = probabilities(self.network(window[None, None])[0])[len(LANDMARKS) :]
        return RegionMaps(maps, map_affine(np.asarray(affine @ shift)))
