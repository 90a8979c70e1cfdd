"""How wrong a localizer was about one volume: by its peaks alone, or by the names that it gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_spine.data.datalist import Record
from monai_spine.geometry import Array
from monai_spine.levels.sagittal.comparison import compare, true_points
from monai_spine.levels.sagittal.landmark_maps import LANDMARKS
from monai_spine.levels.sagittal.metrics import found_points, matched, true_landmarks
from monai_spine.levels.sagittal.points import points_of

_NOT_FOUND_MM = 20.0
"""What a landmark that was missed, or invented, costs in mm."""


@dataclass(frozen=True)
class Judgement:
    """What is wrong with a volume.

    Attributes
    ----------
    cost
        In mm; the greater, the worse.
    found, truth
        RAS mm ``(n, 3)``.
    title
        Says it in words.
    """

    cost: float
    found: Array
    truth: Array
    title: str


def judge_peaks(image: Mapping[str, Any]) -> Judgement:
    """By the peaks of all maps, matched to the nearest landmarks; for volumes as `LandmarkMetric` takes them."""
    found, truth = ([points(image, name) for name in LANDMARKS] for points in (found_points, true_landmarks))
    counts = sum((matched(a, b) for a, b in zip(found, truth, strict=True)), np.zeros(4))
    hits, total, invented, missed = counts.tolist()
    title = f"{hits:.0f} found, {missed:.0f} missed, {invented:.0f} invented"
    return Judgement(total + _NOT_FOUND_MM * (invented + missed), np.concatenate(found), np.concatenate(truth), title)


class NamedJudge:
    """By named points against a study's marked ones: the farthest of them counts.

    Parameters
    ----------
    records
        The studies with their points.
    """

    def __init__(self, *, records: Sequence[Record]) -> None:
        self.truth = {record["study_id"]: true_points(record) for record in records}

    def __call__(self, volume: Mapping[str, Any]) -> Judgement:
        """The judgement of a volume with ``study_id``, ``volume``, ``image``, ``affine`` and ``pred``."""
        truth, points = self.truth[str(volume["study_id"])], points_of(volume)
        compared = compare(points, truth)
        errors = [error["error"] for error in compared["errors"]]
        missed = len(truth) - len(errors)
        worst = max(errors, default=0.0)
        title = f"{volume['study_id']} {volume['series_type']}: worst {worst:.1f} mm, {missed} not found"
        title += ", levels uncertain" if compared["uncertain"] else ""
        found = np.array([point.world for point in points.points]).reshape(-1, 3)
        return Judgement(worst + missed, found, np.array(list(truth.values())).reshape(-1, 3), title)
