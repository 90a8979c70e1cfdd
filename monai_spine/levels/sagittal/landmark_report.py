"""The report of the level bundle: errors of the located points in mm, wrong levels, and what was missed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from monai_spine.data.datalist import Record
from monai_spine.files import write_text
from monai_spine.geometry import spacing
from monai_spine.levels.collectors import CaseWriter, array_of
from monai_spine.levels.sagittal.assessment import compare, summary, true_points
from monai_spine.levels.sagittal.points import points_of

logger = logging.getLogger(__name__)

_HEIGHTS_MM = {"under 180 mm": (0.0, 180.0), "180 to 250 mm": (180.0, 250.0), "over 250 mm": (250.0, float("inf"))}
"""Heights of the field of view: a low one may not show the sacrum, by which levels are counted."""


class LandmarkReport(CaseWriter):
    """Writes ``metrics.json`` and ``errors.csv`` when an evaluator has seen all volumes.

    For the canal and the foramina of each series type: points marked and found, mean and 95th percentile of the error,
    in space and in the sagittal plane, shares within 3 and 5 mm; volumes without a spine, with uncertain levels, with a
    wrong level, and with a wrong level that has no flag. The same for the volumes of each height of the field of view,
    under ``by_height``.

    Parameters
    ----------
    output_dir
        The folder to write to.
    records
        The studies with their points.
    """

    def __init__(self, *, output_dir: str, records: Sequence[Record]) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.truth = {record["study_id"]: true_points(record) for record in records}

    def entry(self, case: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """A row for a volume."""
        study = str(case["study_id"])
        # The same reading of maps as in `locate`, so that the report is about its output.
        row = compare(points_of(case), self.truth[study])
        return f"{study}/{case['volume']}", {"series_type": case["series_type"], "height": _height(case), **row}

    def write(self, entries: Mapping[str, dict[str, Any]]) -> None:
        """Write the figures of each series type, and the errors of all points."""
        content = {}
        # T1 and T2 have figures of their own: their contrast differs, and the network may be good at one only.
        for series_type in sorted({row["series_type"] for row in entries.values()}):
            content[series_type] = _figures([row for row in entries.values() if row["series_type"] == series_type])
        write_text(self.output_dir / "metrics.json", json.dumps(content, indent=2) + "\n")
        write_text(self.output_dir / "errors.csv", _table(entries))
        for series_type, figures in content.items():
            for point in ("canal", "foramen"):
                logger.info("%s %s: %s", series_type, point, figures[point])


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of volumes of one series type, all together and by the height of their field of view."""
    heights = {name: [row for row in rows if low <= row["height"] < high] for name, (low, high) in _HEIGHTS_MM.items()}
    return {**summary(rows), "by_height": {name: summary(some) for name, some in heights.items() if some}}


def _height(volume: Mapping[str, Any]) -> float:
    """Millimetres from the lowest to the highest row with a grey value above 0; small images are padded with 0."""
    rows = torch.nonzero((torch.as_tensor(volume["image"]) > 0).any(dim=0).any(dim=0).any(dim=0))[:, 0]
    step = spacing(array_of(volume["affine"]))[2]
    return float(step) * (int(rows[-1] - rows[0]) + 1) if len(rows) else 0.0


def _table(rows: Mapping[str, dict[str, Any]]) -> str:
    lines = ["volume,series_type,point,level,side,error_mm,in_plane_mm,flags"]
    for name, row in sorted(rows.items()):
        lines += [
            f"{name},{row['series_type']},{e['point']},{e['level']},{e['side']},{e['error']:.3f},{e['in_plane']:.3f},{e['flags']}"
            for e in row["errors"]
        ]
    return "\n".join(lines) + "\n"
