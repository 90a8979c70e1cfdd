"""Histograms as numbers for the report's drawings: bars, ends, and the range of earlier data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.check.fingerprint import Spread
from data_prep.check.volume_facts import FEATURES, VolumeFacts
from monai_spine.spine import SeriesType

SHOWN = (
    "pixel_width_mm", "slice_spacing_mm", "slices", "field_width_mm", "field_height_mm", "stack_depth_mm",
    "obliquity_deg", "intensity_p99", "midtone",
)  # fmt: skip
"""Features with a histogram."""
WIDTH, HEIGHT = 200.0, 64.0
"""Of the drawing, in its own units."""
BINS = 20


@dataclass(frozen=True)
class Bar:
    """A bin's bar in the drawing's units, and in words."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """A feature of one series type. ``band`` is the range of earlier data as x and width, or None."""

    title: str
    unit: str
    bars: tuple[Bar, ...]
    low: str
    high: str
    median: str
    median_x: float
    band: tuple[float, float] | None


def histograms(
    facts: Sequence[VolumeFacts], series_type: SeriesType, stored: dict[str, Spread] | None = None
) -> list[Histogram]:
    """Histograms of a series type's volumes; none where there is no volume."""
    of_type = [one for one in facts if one.series_type is series_type]
    if not of_type:
        return []
    known = stored or {}
    return [histogram(name, [one.features[name] for one in of_type], known.get(name)) for name in SHOWN]


def histogram(name: str, values: Sequence[float], stored: Spread | None = None) -> Histogram:
    """The histogram of at least one value; its range covers the stored minimum and maximum too."""
    feature = FEATURES[name]
    ends = [*values, *((stored.minimum, stored.maximum) if stored else ())]
    low, high = min(ends), max(ends)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))

    def across(value: float) -> float:
        return round((value - low) / (high - low) * WIDTH, 2)

    tallest = max(int(counts.max()), 1)
    bars = tuple(
        Bar(
            x=across(left) + 0.5,
            y=round(HEIGHT * (1 - count / tallest), 2),
            width=WIDTH / BINS - 1,
            height=round(HEIGHT * count / tallest, 2),
            title=f"{left:.4g} to {right:.4g}: {count}",
        )
        for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        if count
    )
    median = float(np.median(values))
    band = (across(stored.minimum), across(stored.maximum) - across(stored.minimum)) if stored else None
    return Histogram(
        feature.title, feature.unit, bars, f"{low:.4g}", f"{high:.4g}", f"{median:.4g}", across(median), band
    )
