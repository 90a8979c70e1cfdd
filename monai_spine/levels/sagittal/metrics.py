"""Metrics of a level network while it trains: landmarks found within 5 mm, and peaks that are no landmark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from scipy.optimize import linear_sum_assignment

from monai_spine.geometry import Array, to_voxel
from monai_spine.levels.collectors import CaseMetric, array_of
from monai_spine.levels.sagittal.landmark_maps import UNKNOWN
from monai_spine.levels.sagittal.maps import LANDMARKS, map_affine
from monai_spine.levels.sagittal.peaks import find_peaks

NEAR_MM = 5.0
"""A landmark counts as found if a peak lies within this distance."""
_LEAST_HEIGHT, _LEAST_APART_MM = 0.3, 12.0
"""Least height of a peak, and least distance of two. The chain uses lower peaks too, since it can drop false ones."""


class LandmarkMetric(CaseMetric):
    """Matches the peaks of every image's maps with its landmarks, by the assignment of least total distance.

    Each batch is a list of images with ``pred`` ``(len(LANDMARKS) or more, x, y, z)`` from 0 to 1, ``affine`` of the
    image, and ``landmarks`` and ``label`` as `LandmarkMapsd` makes them. Peaks where a map of ``label`` is unknown do
    not count.

    ``landmark``: one of `LANDMARKS`, or None for all.
    ``figure``: one of ``missed``: 1 - F1 of peaks within `NEAR_MM` of a landmark, so that lower is better; ``error``:
    mean mm of these; ``invented``: number of peaks without a landmark per image.
    """

    FIGURES = ("missed", "error", "invented")

    def __init__(self, landmark: str | None = None, figure: str = "missed") -> None:
        self.landmarks = LANDMARKS if landmark is None else (landmark,)
        super().__init__(figure)

    def rows(self, case: Mapping[str, Any]) -> Iterable[Array]:
        """The sums of `matched` over the landmarks."""
        yield sum(
            (matched(predicted_points(case, name), true_landmarks(case, name)) for name in self.landmarks), np.zeros(4)
        )

    def value(self, rows: Array) -> float:
        """The figure; NaN for ``error`` if nothing was found."""
        hits, distance, invented, missed = rows.sum(axis=0).tolist()
        if self.figure == "invented":
            return float(invented / len(rows))
        if self.figure == "error":
            return float(distance / hits) if hits else float("nan")
        return float(1.0 - 2 * hits / max(1.0, 2 * hits + invented + missed))


def true_landmarks(image: Mapping[str, Any], landmark: str) -> Array:
    """The landmarks of one type in an image, RAS mm ``(n, 3)``."""
    table = array_of(image["landmarks"])[LANDMARKS.index(landmark)]
    return table[np.isfinite(table).all(axis=1)]


def predicted_points(image: Mapping[str, Any], landmark: str) -> Array:
    """The peaks of an image's map, RAS mm ``(n, 3)``, without those where it is unknown if there is a landmark."""
    affine = map_affine(array_of(image["affine"]))
    channel = LANDMARKS.index(landmark)
    values = torch.as_tensor(image["pred"])[channel].float().cpu().numpy()
    peaks = find_peaks(values, affine, threshold=_LEAST_HEIGHT, apart=_LEAST_APART_MM)
    points = np.array([peak.world for peak in peaks]).reshape(-1, 3)
    # Nobody marked these places, so a peak there is neither right nor wrong.
    unknown = torch.as_tensor(image["label"])[channel].cpu().numpy() == UNKNOWN
    voxels = np.clip(np.rint(to_voxel(affine, points)).astype(int), 0, np.array(values.shape) - 1)
    return points[~unknown[tuple(voxels.T)]]


def matched(points: Array, truth: Array) -> Array:
    """Of points ``(n, 3)`` and landmarks ``(m, 3)``: hits, sum of their distances, points and landmarks left over."""
    if not len(points) or not len(truth):
        return np.array([0.0, 0.0, len(points), len(truth)])
    distance = np.linalg.norm(points[:, None] - truth[None], axis=-1)
    # A far pair costs the same whatever its distance, so it never displaces a near one.
    rows, columns = linear_sum_assignment(np.where(distance <= NEAR_MM, distance, 1e3))
    near = distance[rows, columns] <= NEAR_MM
    hits = int(near.sum())
    return np.array([hits, distance[rows, columns][near].sum(), len(points) - hits, len(truth) - hits])


def missed_metric() -> dict[str, Metric]:
    """The figure by which models are chosen: ``missed``."""
    return {"missed": LandmarkMetric()}


def detail_metrics() -> dict[str, Metric]:
    """The figures of each landmark by itself."""
    return {f"{figure}_{name}": LandmarkMetric(name, figure) for name in LANDMARKS for figure in LandmarkMetric.FIGURES}
