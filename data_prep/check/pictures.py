"""Pictures for the report: slices of a study with the points that were marked on them, and histograms of features."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from data_prep.check.entries import Point, Study
from data_prep.check.fingerprint import Spread
from data_prep.check.point_faults import named
from data_prep.check.volume_facts import FEATURES, VolumeFacts
from data_prep.check.volumes import UnusableVolumeError, read
from monai_spine.data.series_typing import PLANES
from monai_spine.data.volume import WINDOW, Volume
from monai_spine.geometry import plane_distance, spacing, to_voxel
from monai_spine.spine import Finding, Level, SeriesType, Side

WIDTH = 300.0
"""Of a panel in the drawing's own units."""
LONGER_SIDE = 400
"""Pixels of the embedded picture."""
NEAR_MM = 8.0
"""How far from an axial slice a point may lie and still be drawn on it."""
SHOWN = (
    "pixel_width_mm", "slice_spacing_mm", "slices", "field_width_mm", "field_height_mm", "stack_depth_mm",
    "obliquity_deg", "intensity_p99", "midtone",
)  # fmt: skip
"""Features with a histogram."""
CHART_WIDTH, CHART_HEIGHT = 200.0, 64.0
"""Of a histogram in its own units."""
BINS = 20


@dataclass(frozen=True)
class Mark:
    """A point on a panel, in the drawing's units; ``far`` if it is more than a slice's distance off the slice."""

    x: float
    y: float
    shape: str
    label: str
    title: str
    far: bool
    blamed: bool


@dataclass(frozen=True)
class Panel:
    """One slice as a JPEG in a ``data:`` address (empty where there is none), with its caption, file and marks.

    Labels stand above marks that lie beside each other, and beside marks that lie above each other.
    """

    title: str
    caption: str
    path: str = ""
    source: str = ""
    height: float = WIDTH
    marks: tuple[Mark, ...] = ()
    labels_above: bool = False


def panels(study: Study, folder: Path, blamed: Collection[Finding], paths: Collection[str]) -> list[Panel]:
    """A panel for each series type; ``folder`` is that of the datalist.

    Slices are chosen to show the ``blamed`` findings, those with a faulty point. Of several volumes, one at the faulty
    ``paths`` is shown.
    """
    return [_panel(study, folder, series_type, blamed, paths) for series_type in SeriesType]


def _panel(
    study: Study, folder: Path, series_type: SeriesType, blamed: Collection[Finding], paths: Collection[str]
) -> Panel:
    if not study.series[series_type]:
        return Panel(series_type.title, "no volume in the datalist")
    points = {finding: point for finding, point in study.points.items() if finding.condition.series_type is series_type}
    focus = _focus(points, blamed)
    best: tuple[tuple[bool, float, int], Volume, str] | None = None
    reasons = []
    for path in study.series[series_type]:
        try:
            volume = read(folder, path, PLANES[series_type])
        except UnusableVolumeError as error:
            reasons.append(f"{path}: {error}")
            continue
        away = 0.0 if focus is None else float(plane_distance(volume.affine, volume.shape, points[focus]))
        rank = (path not in paths, away, -volume.shape[2])
        if best is None or rank < best[0]:
            best = (rank, volume, path)
    if best is None:
        return Panel(series_type.title, reasons[0])
    _, volume, path = best
    view = View(volume, _slice_of(volume, None if focus is None else points[focus]))
    shown = points if series_type is not SeriesType.AXIAL_T2 else _near(view, points, focus)
    marks = tuple(_mark(view, finding, point, finding in blamed) for finding, point in shown.items())
    caption = f"slice {view.k + 1} of {volume.shape[2]}"
    return Panel(
        series_type.title, caption, path, view.source(), view.height, marks, series_type is SeriesType.AXIAL_T2
    )


def _focus(points: Collection[Finding], blamed: Collection[Finding]) -> Finding | None:
    """The finding whose slice is shown: a blamed one, else a middle one of the left side or the canal."""
    order = (Level.L4_L5, Level.L3_L4, Level.L5_S1, Level.L2_L3, Level.L1_L2)
    ranked = sorted(points, key=lambda f: (f not in blamed, f.condition.side is Side.RIGHT, order.index(f.level)))
    return ranked[0] if ranked else None


def _slice_of(volume: Volume, point: Point | None) -> int:
    """The slice nearest to a point, or the middle one."""
    count = volume.shape[2]
    k = (count - 1) / 2 if point is None else float(to_voxel(volume.affine, point)[2])
    return int(np.clip(np.rint(k), 0, count - 1))


def _near(view: View, points: dict[Finding, Point], focus: Finding | None) -> dict[Finding, Point]:
    """Points near an axial slice, and the one that it was chosen for."""
    return {f: point for f, point in points.items() if f is focus or view.distance(point) <= NEAR_MM}


def _mark(view: View, finding: Finding, point: Point, blamed: bool) -> Mark:
    x, y = view.place(point)
    away = view.distance(point)
    first, second = finding.level.title.split("/")
    return Mark(
        x=round(float(np.clip(x, 4, WIDTH - 4)), 1),
        y=round(float(np.clip(y, 4, view.height - 4)), 1),
        shape="canal" if finding.condition.side is None else finding.condition.side.value,
        label=f"{first}/{second.lstrip('L')}",
        title=f"{named(finding)}, {away:.1f} mm off this slice",
        far=away > view.step,
        blamed=blamed,
    )


class View:
    """A slice as readers see it: anterior or the patient's right on the left; head, or anterior in axial ones, on top.

    ``k`` counts the slices along the volume's third axis.
    """

    def __init__(self, volume: Volume, k: int) -> None:
        self._volume, self.k = volume, k
        along = np.abs(volume.affine[:3, :2]).argmax(axis=0)
        self._across, self._down = (0, 1) if along[0] <= along[1] else (1, 0)
        rising = [bool(volume.affine[along[axis], axis] > 0) for axis in (0, 1)]
        self._turned = (rising[self._across], rising[self._down])
        steps = spacing(volume.affine)
        self._size = tuple(float(volume.shape[a] * steps[a]) for a in (self._across, self._down))
        self.step = float(steps[2])

    @property
    def height(self) -> float:
        """In the drawing's units; the width is `WIDTH`."""
        return float(np.clip(WIDTH * self._size[1] / self._size[0], WIDTH / 3, WIDTH * 2))

    def place(self, point: Sequence[float]) -> tuple[float, float]:
        """Where a RAS point lies, seen along the slices' normal, in the drawing's units."""
        voxel = to_voxel(self._volume.affine, point)
        x, y = ((float(voxel[axis]) + 0.5) / self._volume.shape[axis] for axis in (self._across, self._down))
        x, y = (1 - x if self._turned[0] else x), (1 - y if self._turned[1] else y)
        return x * WIDTH, y * self.height

    def distance(self, point: Sequence[float]) -> float:
        """Millimetres from a RAS point to the slice's plane."""
        return float(abs(to_voxel(self._volume.affine, point)[2] - self.k) * self.step)

    def source(self) -> str:
        """The slice as a ``data:`` address, its grey values in `WINDOW`."""
        plane = self._volume.voxels[:, :, self.k].transpose(self._down, self._across)
        plane = plane[:: -1 if self._turned[1] else 1, :: -1 if self._turned[0] else 1]
        scale = LONGER_SIDE / max(WIDTH, self.height)
        size = (max(1, round(WIDTH * scale)), max(1, round(self.height * scale)))
        picture = Image.fromarray(_grey(plane)).resize(size, Image.Resampling.BICUBIC)
        coded = io.BytesIO()
        picture.save(coded, "JPEG", quality=80, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(coded.getvalue()).decode()


def _grey(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    low, high = np.percentile(plane, WINDOW)
    spread = max(float(high - low), 1e-12)
    return (np.clip((plane - low) / spread, 0.0, 1.0) * 255).astype(np.uint8)


def histograms(
    facts: Sequence[VolumeFacts], series_type: SeriesType, stored: dict[str, Spread] | None = None
) -> list[dict[str, Any]]:
    """Histograms of a series type's volumes; none where there is no volume."""
    of_type = [one for one in facts if one.series_type is series_type]
    if not of_type:
        return []
    known = stored or {}
    return [histogram(name, [one.features[name] for one in of_type], known.get(name)) for name in SHOWN]


def histogram(name: str, values: Sequence[float], stored: Spread | None = None) -> dict[str, Any]:
    """The histogram of at least one value; its range covers the stored minimum and maximum too.

    Bars are in the drawing's units and have their counts as titles. ``band`` is the stored range as x and width.
    """
    feature = FEATURES[name]
    ends = [*values, *((stored.minimum, stored.maximum) if stored else ())]
    low, high = min(ends), max(ends)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))

    def across(value: float) -> float:
        return round((value - low) / (high - low) * CHART_WIDTH, 2)

    tallest = max(int(counts.max()), 1)
    bars = [
        {
            "x": across(left) + 0.5,
            "y": round(CHART_HEIGHT * (1 - count / tallest), 2),
            "width": CHART_WIDTH / BINS - 1,
            "height": round(CHART_HEIGHT * count / tallest, 2),
            "title": f"{left:.4g} to {right:.4g}: {count}",
        }
        for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        if count
    ]
    median = float(np.median(values))
    return {
        "title": feature.title,
        "unit": feature.unit,
        "bars": bars,
        "low": f"{low:.4g}",
        "high": f"{high:.4g}",
        "median": f"{median:.4g}",
        "median_x": across(median),
        "band": (across(stored.minimum), across(stored.maximum) - across(stored.minimum)) if stored else None,
    }
