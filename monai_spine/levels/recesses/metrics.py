"""Metrics of the detections in crops of axial slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ignite.metrics import Metric

from monai_spine.geometry import Array
from monai_spine.levels.collectors import CaseMetric, array_of
from monai_spine.levels.recesses.detection import read_recesses
from monai_spine.levels.recesses.planes import LEAST_CONFIDENCE
from monai_spine.spine import Side

_FAR_MM = 3.0


class RecessMetric(CaseMetric):
    """Compares the detections in each crop with the recesses in it.

    Each batch is a list of crops with ``pred`` ``(2, 1, x, y)``, distributions over the pixels, ``affine`` of the crop,
    and ``recess`` ``(2, 3)``, RAS mm, NaN where there is none.

    ``figure``: one of ``error``: mean distance in mm, whatever the confidence; ``far``: share of distances over 3 mm;
    ``unsure``: share of recesses detected with less than `LEAST_CONFIDENCE`; ``invented``: share of sides without a
    recess where one is detected.
    """

    FIGURES = ("error", "far", "unsure", "invented")

    def rows(self, case: Mapping[str, Any]) -> Iterable[tuple[float, float]]:
        """Distance in mm, NaN where there is no recess, and confidence, of each side."""
        detections = read_recesses(array_of(case["pred"]), array_of(case["affine"]))
        for side, place in zip(Side, array_of(case["recess"]), strict=True):
            yield float(np.linalg.norm(detections[side].world - place)), detections[side].confidence

    def value(self, rows: Array) -> float:
        """The mean over the sides that the figure is about; NaN if there are none."""
        errors, confidence = rows.T
        # The distance to a recess that does not exist is NaN.
        present = np.isfinite(errors)
        values = {
            "error": errors[present],
            "far": errors[present] > _FAR_MM,
            "unsure": confidence[present] < LEAST_CONFIDENCE,
            "invented": confidence[~present] >= LEAST_CONFIDENCE,
        }[self.figure]
        return float(values.mean()) if values.size else float("nan")


def error_metric() -> dict[str, Metric]:
    """The figure by which models are chosen: ``error``."""
    return {"error": RecessMetric("error")}


def detail_metrics() -> dict[str, Metric]:
    """The other figures."""
    return {figure: RecessMetric(figure) for figure in RecessMetric.FIGURES[1:]}
