"""How far the regions of a network and those of a mask overlap, while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from monai_spine.geometry import Array
from monai_spine.levels.collectors import CaseMetric, array_of
from monai_spine.levels.sagittal.maps import LANDMARKS, REGIONS

MEASURED = ("canal", "disc")
"""Regions that measures are taken of."""


class RegionOverlap(CaseMetric):
    """One minus the mean Dice coefficient of the canal and the discs over all cases: lower is better.

    Each batch is a list of images with ``pred``, the probabilities of `LANDMARKS` and `REGIONS`, and ``label`` as
    `LandmarkMapsd` makes it. Voxels of unknown region do not count.
    """

    FIGURES = ("apart",)

    def __init__(self) -> None:
        super().__init__("apart")

    def rows(self, case: Mapping[str, Any]) -> Iterable[Array]:
        """Twice the common volume and the sum of the volumes, of each region of `MEASURED`: ``(regions, 2)``."""
        found = array_of(case["pred"])[len(LANDMARKS) :].argmax(axis=0)
        truth = np.rint(array_of(case["label"])[-1])
        known = truth >= 0
        pairs = [((found == number) & known, truth == number) for number in map(REGIONS.index, MEASURED)]
        yield np.array([[2.0 * (own & true).sum(), own.sum() + true.sum()] for own, true in pairs]).ravel()

    def value(self, rows: Array) -> float:
        """The figure of all cases together."""
        common, volume = rows.sum(axis=0).reshape(-1, 2).T
        return float(1.0 - (common / np.maximum(volume, 1.0)).mean())
