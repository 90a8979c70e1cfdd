"""Ignite metrics of a recess network: millimetres off, recesses not seen, and recesses invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric

from monai_spine.levels.recesses.maps import read_recesses
from monai_spine.levels.recesses.planes import SURE
from monai_spine.spine import Side
from monai_spine.training.engine_output import gathered, studies_of

FIGURES = ("error", "far", "unsure", "invented")
_FAR = 3.0


class RecessMetric(Metric):
    """Collects, over an epoch and over processes, what was seen in each crop beside what is there.

    Each batch is a list of crops with ``pred`` ``(2, 1, x, y)``, distributions over the pixels, ``affine`` of the crop,
    and ``recess`` ``(2, 3)``, RAS mm, NaN where there is none.

    Parameters
    ----------
    figure
        ``error``: mean distance in mm, sure or not; ``far``: share of them beyond 3 mm; ``unsure``: share of recesses
        that are not seen with the confidence `SURE`; ``invented``: share of places without a recess where one is.

    Raises
    ------
    ValueError
        If there is no such figure.
    """

    def __init__(self, figure: str = "error") -> None:
        if figure not in FIGURES:
            raise ValueError(f"expected one of the figures {', '.join(FIGURES)}, but given {figure!r}")
        self.figure = figure
        self._crops: dict[str, tuple[float, ...]] = {}
        super().__init__()

    def reset(self) -> None:
        """Forget the crops."""
        self._crops = {}

    def iteration_completed(self, engine: Engine) -> None:
        """Take the points from the engine's batch and the maps from its output."""
        self.update(studies_of(engine))

    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch of crops."""
        for crop in output:
            affine = np.asarray(torch.as_tensor(crop["affine"]).cpu(), dtype=np.float64)
            truth = np.asarray(torch.as_tensor(crop["recess"]).cpu(), dtype=np.float64)
            seen = read_recesses(crop["pred"], affine)
            for side, place in zip(Side, truth, strict=True):
                error = float(np.linalg.norm(seen[side].world - place))
                self._crops[f"{idist.get_rank()}:{len(self._crops)}"] = (error, seen[side].confidence)

    def compute(self) -> float:
        """The figure; NaN where it is not defined."""
        errors, confidence = np.array(list(gathered(self._crops).values())).reshape(-1, 2).T
        there = np.isfinite(errors)
        values = {
            "error": errors[there],
            "far": errors[there] > _FAR,
            "unsure": confidence[there] < SURE,
            "invented": confidence[~there] >= SURE,
        }[self.figure]
        return float(values.mean()) if values.size else float("nan")


def error_metric() -> dict[str, Metric]:
    """The figure by which models are chosen: ``error``."""
    return {"error": RecessMetric()}


def detail_metrics() -> dict[str, Metric]:
    """The other figures."""
    return {figure: RecessMetric(figure) for figure in FIGURES[1:]}
