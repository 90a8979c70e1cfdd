"""What a localizer's points are worth against marked ones: millimetres, levels, and what was missed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_spine.data.datalist import Record
from monai_spine.files import write_text
from monai_spine.geometry import spacing
from monai_spine.levels.sagittal.comparison import compare, summary, true_points
from monai_spine.levels.sagittal.points import points_of
from monai_spine.training.engine_output import gathered, studies_of

logger = logging.getLogger(__name__)

_HEIGHTS = {"under 180 mm": (0.0, 180.0), "180 to 250 mm": (180.0, 250.0), "over 250 mm": (250.0, float("inf"))}


class LandmarkReport:
    """Writes ``metrics.json`` and ``errors.csv`` once an evaluator has seen all volumes.

    For the canal and the foramina of each series type: points marked and found, mean and 95th percentile of the error,
    in space and in the sagittal plane, shares within 3 and 5 mm; volumes without a spine, with uncertain levels, with a
    wrong level, and with a wrong level that nothing warns of. The same for the volumes of each height of the field of
    view, under ``by_height``.

    Parameters
    ----------
    output_dir
        The folder.
    records
        The studies with their points.
    """

    def __init__(self, *, output_dir: str, records: Sequence[Record]) -> None:
        self.output_dir = Path(output_dir)
        self.truth = {record["study_id"]: true_points(record) for record in records}
        self._rows: dict[str, dict[str, Any]] = {}

    def attach(self, engine: Engine) -> None:
        """Compare after each iteration, write at the end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self) -> None:
        self._rows = {}

    def _collect(self, engine: Engine) -> None:
        for volume in studies_of(engine):
            study = str(volume["study_id"])
            compared = compare(points_of(volume), self.truth[study])
            row = {"series_type": volume["series_type"], "height": _height(volume), **compared}
            self._rows[f"{study}/{volume['volume']}"] = row

    def _write(self) -> None:
        rows = gathered(self._rows)
        if idist.get_rank() != 0:
            return
        kinds = sorted({row["series_type"] for row in rows.values()})
        content = {kind: _report([row for row in rows.values() if row["series_type"] == kind]) for kind in kinds}
        write_text(self.output_dir / "metrics.json", json.dumps(content, indent=2) + "\n")
        write_text(self.output_dir / "errors.csv", _table(rows))
        for kind, figures in content.items():
            for point in ("canal", "foramen"):
                logger.info("%s %s: %s", kind, point, figures[point])


def _report(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of volumes of one series type, all together and by the height of their field of view."""
    heights = {name: [row for row in rows if low <= row["height"] < high] for name, (low, high) in _HEIGHTS.items()}
    return {**summary(rows), "by_height": {name: summary(some) for name, some in heights.items() if some}}


def _height(volume: Mapping[str, Any]) -> float:
    """Millimetres from the lowest to the highest row that shows anything."""
    rows = torch.nonzero((torch.as_tensor(volume["image"]) > 0).any(dim=0).any(dim=0).any(dim=0))[:, 0]
    step = spacing(np.asarray(torch.as_tensor(volume["affine"]).cpu(), dtype=np.float64))[2]
    return float(step) * (int(rows[-1] - rows[0]) + 1) if len(rows) else 0.0


def _table(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["volume,series_type,point,level,side,error_mm,in_plane_mm,flags"]
    for name, row in sorted(rows.items()):
        lines += [
            f"{name},{row['series_type']},{e['point']},{e['level']},{e['side']},{e['error']:.3f},{e['in_plane']:.3f},{e['flags']}"
            for e in row["errors"]
        ]
    return "\n".join(lines) + "\n"
