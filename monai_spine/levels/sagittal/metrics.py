"""Ignite metrics of maps of landmarks: what is found within 5 mm, and what is invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from scipy.optimize import linear_sum_assignment

from monai_spine.geometry import Array, to_voxel
from monai_spine.levels.sagittal.landmark_maps import LANDMARKS, UNKNOWN, map_affine
from monai_spine.levels.sagittal.peaks import find_peaks
from monai_spine.training.engine_output import gathered, studies_of

NEAR = 5.0
"""Millimetres within which a landmark counts as found."""
_THRESHOLD = 0.3
_APART = 12.0


class LandmarkMetric(Metric):
    """Collects, over an epoch and over processes, the peaks of every image's maps matched to its landmarks.

    Each batch is a list of images with ``pred`` ``(len(LANDMARKS) or more, x, y, z)`` from 0 to 1, ``affine`` of the
    image, and ``landmarks`` and ``label`` as `LandmarkMapsd` makes them; peaks where a map of ``label`` is unknown do
    not count. Matches are the assignment of the least total distance.

    Parameters
    ----------
    landmark
        One of `LANDMARKS`, or None for all.
    figure
        ``missed``: 1 - F1 of peaks within `NEAR` mm of a landmark, so that lower is better; ``error``: mean mm of
        these; ``invented``: peaks of no landmark an image.
    """

    def __init__(self, landmark: str | None = None, figure: str = "missed") -> None:
        if figure not in ("missed", "error", "invented"):
            raise ValueError(f"expected the figure missed, error or invented, but given {figure!r}")
        self.landmarks = LANDMARKS if landmark is None else (landmark,)
        self.figure = figure
        self._images: dict[str, tuple[float, ...]] = {}
        super().__init__()

    def reset(self) -> None:
        """Forget the images."""
        self._images = {}

    def iteration_completed(self, engine: Engine) -> None:
        """Take the points from the engine's batch and the maps from its output."""
        self.update(studies_of(engine))

    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch of images."""
        for image in output:
            counts = np.zeros(4)
            for name in self.landmarks:
                counts += matched(found_points(image, name), true_landmarks(image, name))
            self._images[f"{idist.get_rank()}:{len(self._images)}"] = tuple(counts.tolist())

    def compute(self) -> float:
        """The figure; NaN where it is not defined."""
        images = gathered(self._images)
        if not images:
            return float("nan")
        hits, total, invented, missed = np.array(list(images.values())).sum(axis=0).tolist()
        if self.figure == "invented":
            return float(invented / len(images))
        if self.figure == "error":
            return float(total / hits) if hits else float("nan")
        return float(1.0 - 2 * hits / max(1.0, 2 * hits + invented + missed))


def true_landmarks(image: Mapping[str, Any], landmark: str) -> Array:
    """The landmarks of a kind in an image, RAS mm ``(n, 3)``."""
    truth = np.asarray(torch.as_tensor(image["landmarks"]).cpu(), dtype=np.float64)[LANDMARKS.index(landmark)]
    return truth[np.isfinite(truth).all(axis=1)]


def found_points(image: Mapping[str, Any], landmark: str) -> Array:
    """The peaks of an image's map, RAS mm ``(n, 3)``, but for those where nobody knows whether there is a landmark."""
    affine = map_affine(np.asarray(torch.as_tensor(image["affine"]).cpu(), dtype=np.float64))
    channel = LANDMARKS.index(landmark)
    values = torch.as_tensor(image["pred"])[channel].float().cpu().numpy()
    peaks = find_peaks(values, affine, threshold=_THRESHOLD, apart=_APART)
    found = np.array([peak.world for peak in peaks]).reshape(-1, 3)
    unknown = torch.as_tensor(image["label"])[channel].cpu().numpy() == UNKNOWN
    voxels = np.clip(np.rint(to_voxel(affine, found)).astype(int), 0, np.array(values.shape) - 1)
    return found[~unknown[tuple(voxels.T)]]


def matched(found: Array, truth: Array) -> Array:
    """Hits, their distances' sum, peaks left over and landmarks left over, of points ``(n, 3)`` and ``(m, 3)``."""
    if not len(found) or not len(truth):
        return np.array([0.0, 0.0, len(found), len(truth)])
    distance = np.linalg.norm(found[:, None] - truth[None], axis=-1)
    rows, columns = linear_sum_assignment(np.where(distance <= NEAR, distance, 1e3))
    near = distance[rows, columns] <= NEAR
    hits = int(near.sum())
    return np.array([hits, distance[rows, columns][near].sum(), len(found) - hits, len(truth) - hits])


def missed_metric() -> dict[str, Metric]:
    """The figure by which models are chosen: ``missed``."""
    return {"missed": LandmarkMetric()}


def detail_metrics() -> dict[str, Metric]:
    """Each landmark's own figures."""
    return {
        f"{figure}_{name}": LandmarkMetric(name, figure)
        for name in LANDMARKS
        for figure in ("missed", "error", "invented")
    }
